"""All network access: hosts, tokens, redirects, and what the logs may contain about them."""
