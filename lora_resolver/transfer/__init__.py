"""The only way to the network: hosts, tokens, redirects, and what logs may show of them."""
