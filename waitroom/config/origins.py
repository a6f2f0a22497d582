"""Which text is an origin as browsers send one: `scheme://host`, with a port that is not the scheme's own.

The gate compares an origin with the header byte by byte, so an entry that no browser ever sends is refused with the
reason instead of never matching.
"""

import re
from ipaddress import AddressValueError, IPv6Address

DEFAULT_PORTS = {"http": "80", "https": "443"}
"""Browsers leave these out of an origin (URL standard, "port")."""

_ORIGIN = re.compile(
    r"(?P<scheme>[^:/]*)://(?P<host>\[[^\]]*\]|[^/:?#]*)(?::(?P<port>[^/?#]*))?(?P<rest>.*)", re.DOTALL
)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
_HOST = re.compile(r"[A-Za-z0-9._~-]+")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
LAST_PORT = 65535


class OriginError(ValueError):
    """Says why a text is not an origin that could be allowed."""


def check_origin(origin: str) -> None:
    """Raise OriginError for what no browser sends as its origin, or what would be everybody's."""
    if origin == "*":
        raise OriginError(
            "the answers are about the visitor whom the cookie names, so every origin is written out"
        )
    if origin == "null":
        raise OriginError(
            "null is the origin of every sandboxed frame and local file, so it would be anyone's"
        )
    parts = _ORIGIN.fullmatch(origin)
    if parts is None or not _SCHEME.fullmatch(parts["scheme"].lower()):
        raise OriginError("an origin is scheme://host or scheme://host:port")
    if parts["rest"]:
        raise OriginError("an origin ends with its host and port: it has no path and no slash at the end")
    if parts["scheme"] != parts["scheme"].lower():
        raise OriginError("browsers send the scheme in lower case")
    _check_host(parts["scheme"], parts["host"])
    if parts["port"] is not None:
        _check_port(parts["scheme"], parts["port"])


def _check_host(scheme: str, host: str) -> None:
    if not host:
        raise OriginError(
            "it has no host: such an origin is shared by many pages, as that of all local files is"
        )
    if "*" in host:
        raise OriginError("there are no wildcards: each origin is written out")
    if host.startswith("["):
        _check_ipv6(host[1:-1])
    elif not host.isascii():
        raise OriginError("browsers send a name with other letters as xn--…")
    elif not _HOST.fullmatch(host):
        raise OriginError("its host is not a name or an address")
    elif scheme in DEFAULT_PORTS and host != host.lower():
        # Of other schemes the host is what the app or the extension was given, capitals and all.
        raise OriginError("browsers send the host in lower case")


def _check_ipv6(address: str) -> None:
    try:
        sent = IPv6Address(address).compressed
    except AddressValueError:
        raise OriginError("its host is not a name or an address") from None
    if sent != address:
        raise OriginError(f"browsers send this address as [{sent}]")


def _check_port(scheme: str, port: str) -> None:
    if not _PORT.fullmatch(port) or int(port) > LAST_PORT:
        raise OriginError("its port is not a number from 1 to 65535")
    if DEFAULT_PORTS.get(scheme) == port:
        raise OriginError(f"browsers leave the port {port} out with {scheme}")
