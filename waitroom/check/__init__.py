"""`waitroom check`: looks for what would go wrong, before it does."""
