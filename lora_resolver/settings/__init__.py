"""What outlasts a session: settings and presets."""
