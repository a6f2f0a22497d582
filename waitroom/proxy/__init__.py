"""A site elsewhere, of any language, as an ASGI site behind the gate."""
