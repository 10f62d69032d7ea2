"""Code of the node for a whole request."""
