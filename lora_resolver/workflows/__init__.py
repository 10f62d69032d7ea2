"""Finds LoRAs in everything other than an array: workflows, pictures, prompts, and pasted text."""
