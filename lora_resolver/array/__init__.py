"""Parses the `lora` array, and the request around it: text → entries, and every error with its place."""
