"""The gate as ASGI: which gate a request meets, what becomes of it, and how it reaches the site.

`requests` reads what came, `answers` writes the gate's own responses, `routes` are those below the prefix.
"""
