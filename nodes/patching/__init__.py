"""What is loaded, does a LoRA fit it, and the weighted deltas: torch and ComfyUI, no JSON and no network."""
