"""Turns the name of a LoRA into a verified file: the `lora` array, identifiers, sources, downloads, headers."""
