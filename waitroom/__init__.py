"""A waiting room for any ASGI site."""

__version__ = "0.1.0"
