"""Persistent data: settings and presets."""
