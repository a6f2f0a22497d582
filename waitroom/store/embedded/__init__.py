"""A store of the app's own: a Valkey that its workers share and that ends with the last of them.

The keeper runs as a script by itself, with nothing but the standard library.
"""
