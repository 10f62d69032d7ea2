"""Code of the nodes for arrays: from the text to entries, files, patched models, and reports."""
