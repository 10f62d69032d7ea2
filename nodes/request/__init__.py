"""A whole request as nodes have it."""
