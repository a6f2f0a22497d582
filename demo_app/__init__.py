"""A small shop with one thing to sell, and the crowd that wants it."""
