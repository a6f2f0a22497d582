"""A store's URL: what its parts say, and in a few words what is wrong with one that will not do."""

import difflib
import inspect
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from redis import RedisError
from redis.asyncio import RedisCluster, SSLConnection
from redis.asyncio.connection import parse_url

Kind = Literal["single", "sentinel", "cluster"]
Address = tuple[str, int]

STORE_PORT = 6379
SENTINEL_PORT = 26379
SCHEMES: dict[str, tuple[Kind, bool]] = {
    "redis": ("single", False),
    "rediss": ("single", True),
    "unix": ("single", False),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
}
"""Each with the kind of store behind it, and whether it speaks TLS."""

SENTINELS_OWN = ("sentinel_username", "sentinel_password")
TLS_OPTIONS = frozenset(
    (
        *("ssl_ca_certs", "ssl_ca_data", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_password"),
        *("ssl_cert_reqs", "ssl_check_hostname", "ssl_min_version", "ssl_ciphers"),
        *("ssl_include_verify_flags", "ssl_exclude_verify_flags"),
    )
)
OPTIONS = TLS_OPTIONS.union(
    ("db", "username", "password", "client_name", "max_connections", "timeout", "health_check_interval"),
    ("socket_timeout", "socket_connect_timeout", "socket_keepalive", "socket_read_size"),
)
"""Those of the client library that a URL may say."""
FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
OF_CLUSTERS = frozenset(inspect.signature(RedisCluster.__init__).parameters) | {"timeout"}


class StoreUrlError(ValueError):
    """What is wrong with a URL, in words that hold nothing of the URL itself: any part may be a password."""


@dataclass(frozen=True)
class StoreUrl:
    """A store's URL, taken apart."""

    kind: Kind
    tls: bool
    addresses: tuple[Address, ...]
    """Of the server, of the sentinels or of some of the cluster's nodes; none for a socket."""
    service: str
    """What the sentinels call the store; empty without them."""
    options: dict[str, Any] = field(repr=False)
    """For the connections to the store, as the client library takes them."""
    sentinel_options: dict[str, Any] = field(repr=False)
    """Who we are to the sentinels: they have users of their own."""


def shown_url(url: str) -> str:
    """Write a store's URL as a log may show it: without its user, password and options."""
    scheme, _, rest = url.partition("://")
    authority, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"


def has_password(url: str) -> bool:
    """Return whether a store's URL, sound or not, has a password in it."""
    place, _, query = url.partition("?")
    credentials, _, _ = place.partition("://")[2].rpartition("@")
    named = any("password" in name for name, _ in parse_qsl(query))
    return ":" in credentials or named


def parse(url: str) -> StoreUrl:
    """Take a store's URL apart; raises StoreUrlError."""
    scheme, found, rest = url.partition("://")
    if not found or scheme not in SCHEMES:
        raise StoreUrlError("there is no such kind of store")
    if "#" in rest:
        raise StoreUrlError("a # in it has to be written %23")
    kind, tls = SCHEMES[scheme]
    place, _, query = rest.partition("?")
    _check_options(query, kind, tls)
    if scheme == "unix":
        return _socket(url, place)
    authority, _, path = place.partition("/")
    credentials, at, hosts = authority.rpartition("@")
    addresses = _addresses(hosts, SENTINEL_PORT if kind == "sentinel" else STORE_PORT)
    if kind == "single" and len(addresses) > 1:
        raise StoreUrlError("several hosts are for redis+sentinel:// and redis+cluster://")
    service, database = _path(kind, path)
    # The client library's own reading of users, passwords and options, which wants exactly one host.
    options = _options(f"{'rediss' if tls else 'redis'}://{credentials}{at}host/{database}?{query}")
    sentinel_options = {
        name.removeprefix("sentinel_"): options.pop(name) for name in SENTINELS_OWN if name in options
    }
    return StoreUrl(kind, tls, addresses, service, options, sentinel_options)


def check_url(url: str) -> None:
    """Raise StoreUrlError where no connection could be made from a URL, or not with the files it names."""
    where = parse(url)
    if not where.tls:
        return
    for name in FILES:
        if name in where.options and not Path(where.options[name]).is_file():
            raise StoreUrlError(f"{name} names no file that is there")
    options = {name: value for name, value in where.options.items() if name.startswith("ssl_")}
    try:
        SSLConnection(**options).ssl_context.get()
    except (ValueError, OSError, RedisError) as error:
        raise StoreUrlError("its ssl options, or the files they name, can't be used") from error


def _socket(url: str, place: str) -> StoreUrl:
    if "/" not in place or place.endswith("/"):
        raise StoreUrlError("it names no socket")
    return StoreUrl("single", False, (), "", _options(url), {})


def _options(url: str) -> dict[str, Any]:
    try:
        options: dict[str, Any] = dict(parse_url(url))
    except ValueError as error:
        # Told without the text of the error: it may quote a part of the URL.
        raise StoreUrlError("an option behind the ? has a value of the wrong kind") from error
    for told_by_kind in ("connection_class", "host", "port"):
        options.pop(told_by_kind, None)
    if options.get("max_connections", 1) < 1:
        raise StoreUrlError("max_connections has to be at least 1")
    return options


def _check_options(query: str, kind: Kind, tls: bool) -> None:
    known = OPTIONS if tls else OPTIONS - TLS_OPTIONS
    if kind == "sentinel":
        known |= {*SENTINELS_OWN}
    if kind == "cluster":
        known &= OF_CLUSTERS
    for name, _ in parse_qsl(query, keep_blank_values=True):
        if name in TLS_OPTIONS and not tls:
            raise StoreUrlError("options that begin with ssl_ are for rediss://, which speaks TLS")
        if name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.85)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}"
            raise StoreUrlError(f"an option behind the ? is unknown; {hint}")


def _addresses(hosts: str, default_port: int) -> tuple[Address, ...]:
    try:
        parts = [urlsplit(f"//{host}") for host in hosts.split(",")]
        addresses = [(unquote(part.hostname or ""), part.port) for part in parts]
        for host, _ in addresses:
            host.encode("idna")  # as it will be looked up
    except UnicodeError as error:
        raise StoreUrlError("a host is no name that can be looked up") from error
    except ValueError as error:
        raise StoreUrlError(
            "a port is a number from 1 to 65535; a password's / ? # have to be written %2F %3F %23"
        ) from error
    if any("\0" in host for host, _ in addresses):
        raise StoreUrlError("a host is no name that can be looked up")
    if any(not host for host, _ in addresses):
        raise StoreUrlError("a host is missing")
    if any(port == 0 for _, port in addresses):
        raise StoreUrlError("a port is a number from 1 to 65535")
    return tuple((host, port or default_port) for host, port in addresses)


def _path(kind: Kind, path: str) -> tuple[str, str]:
    """Read what stands behind the hosts: the service, and the number of a database."""
    service, database = "", path
    if kind == "sentinel":
        service, _, database = path.partition("/")
        if not service:
            raise StoreUrlError("the service is missing that the sentinels know the store by")
    if database and not re.fullmatch(r"[0-9]{1,5}", database):
        raise StoreUrlError("what stands last behind the hosts has to be the number of a database")
    if kind == "cluster" and int(database or 0):
        raise StoreUrlError("a cluster has database 0 alone")
    return unquote(service), database
