"""What strangers send, made by chance: the harnesses, and the spellings of paths that are sent to real servers."""
