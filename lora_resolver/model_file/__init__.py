"""Reads the headers of model files, and validates them before use."""
