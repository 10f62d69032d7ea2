"""The store after a while: is it still what was recorded, and what may go."""
