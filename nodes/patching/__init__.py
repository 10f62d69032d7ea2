"""The loaded model, the check that a LoRA matches it, and the weighted deltas.

Uses torch and ComfyUI; no JSON and no network.
"""
