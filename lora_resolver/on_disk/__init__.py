"""What is on this disk: the downloads, the user's own files, their names and pictures."""
