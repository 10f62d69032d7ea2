"""Maintenance of the downloads: checks whether they are unchanged, and removes what isn't needed."""
