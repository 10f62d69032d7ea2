"""The `lora` array, and the request around it: text in, entries out, every fault with its place."""
