"""The request endpoint, `/air_lora/v1`: Runware's protocol on this ComfyUI."""
