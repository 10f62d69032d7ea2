"""The array on its way through a node: its text, its entries, what is made of them."""
