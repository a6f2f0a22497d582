"""One reading of the authorities for all of httpx's clients in the tests: each would read them anew, 30 ms of a core.

A helper that looks every 50 ms whether a server is there would keep it from starting.
"""

import os
import ssl
from collections.abc import Callable
from functools import cache
from typing import Any

from httpx._transports import default

_read: Callable[..., ssl.SSLContext] = vars(default)["create_ssl_context"]


@cache
def _shared(*_: str | None) -> ssl.SSLContext:
    return _read()


def _context(verify: Any = True, cert: Any = None, trust_env: bool = True) -> ssl.SSLContext:
    if verify is True and cert is None and trust_env:
        return _shared(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    return _read(verify=verify, cert=cert, trust_env=trust_env)


def share() -> None:
    """Have all clients made from now on use the one reading."""
    vars(default)["create_ssl_context"] = _context
