"""The first contact with a store: what it is, whether it will do, and what is wrong where it can't be had."""

import asyncio
import logging
from functools import cache
from typing import NamedTuple

from redis import exceptions
from redis.asyncio.sentinel import MasterNotFoundError

from waitroom.config.store_url import SCHEMES, shown_url
from waitroom.errors import StoreError, StoreUnusableError
from waitroom.store.connections import FAILURES, Link, speaks, wants_certificate
from waitroom.store.errors import IS_NODE, IS_SENTINEL, WANTS_CERTIFICATE, explained, unfit

OLDEST_VERSION = 7
UNFIT_MODES = {"cluster": IS_NODE, "sentinel": IS_SENTINEL}

log: logging.Logger = logging.getLogger("waitroom")


class StoreFacts(NamedTuple):
    """What a store says of itself; None where it does not say, or does not let this user ask."""

    server: str | None
    """redis or valkey."""
    version: str | None
    mode: str | None
    """standalone, cluster or sentinel."""
    maxmemory_policy: str | None


async def read_facts(link: Link, key: str) -> StoreFacts:
    """Ask the server that holds `key` about itself; raises one of FAILURES."""
    try:
        server = await link.ask(key, "INFO", "server")
        memory = await link.ask(key, "INFO", "memory")
    except exceptions.NoPermissionError:
        return StoreFacts(None, None, None, None)
    name = "valkey" if "valkey_version" in server else "redis"
    mode = server.get("server_mode", server.get("redis_mode"))
    return StoreFacts(name, server.get(f"{name}_version"), mode, memory.get("maxmemory_policy"))


def check_facts(facts: StoreFacts, url: str) -> None:
    """Raise StoreUnusableError for a server that will not do; tell of one that may forget people in line.

    What a server does not tell is taken as it should be.
    """
    where = f"the store at {shown_url(url)}"
    major = (facts.version or "").partition(".")[0]
    if major.isdigit() and int(major) < OLDEST_VERSION:
        raise StoreUnusableError(
            f"{where} is version {facts.version}; "
            f"Redis {OLDEST_VERSION} or Valkey {OLDEST_VERSION} and newer will do"
        )
    kind, _ = SCHEMES[url.partition("://")[0]]
    if kind == "single" and facts.mode in UNFIT_MODES:
        raise unfit(url, UNFIT_MODES[facts.mode])
    if facts.maxmemory_policy and facts.maxmemory_policy.startswith("allkeys-"):
        _warn_of_eviction(where, facts.maxmemory_policy)


@cache
def _warn_of_eviction(where: str, policy: str) -> None:
    """Once in each process, however many rooms it has there."""
    log.warning(
        "%s has maxmemory-policy %s: short of memory it throws parts of the line away, and people lose "
        "their places or come in beyond the capacity; set maxmemory-policy noeviction",
        where,
        policy,
    )


async def diagnosed(error: BaseException, url: str, link: Link) -> StoreError:
    """Look closer at a store that could not be reached at the first try."""
    told = explained(error, url)
    if isinstance(told, StoreUnusableError):
        return told
    if isinstance(error, MasterNotFoundError):
        told = await _ask_sentinels(link, url) or told
    if not isinstance(told, StoreUnusableError):
        told = await _ask_about_tls(link, url) or told
    return told


async def _ask_sentinels(link: Link, url: str) -> StoreError | None:
    """Find out why no sentinel named a primary: whether they don't know the service, or don't answer."""
    service, known, answered = link.where.service, set[str](), 0
    told: StoreError | None = None
    for sentinel in link.sentinels:
        try:
            known |= {str(name) for name in await sentinel.sentinel_masters()}
            answered += 1
        except FAILURES as error:
            told = told or _told_of_sentinel(error, url)
    if service in known or not answered:
        return told
    if not known:
        return StoreUnusableError(f"the sentinels at {shown_url(url)} know no service at all")
    return StoreUnusableError(
        f"the sentinels at {shown_url(url)} know no service {service!r}: they know {', '.join(sorted(known))}"
    )


def _told_of_sentinel(error: BaseException, url: str) -> StoreError:
    told = explained(error, url)
    if isinstance(error, exceptions.AuthenticationError):
        return StoreUnusableError(
            f"the sentinels at {shown_url(url)} refused us: {error}; their own user and password stand behind "
            "the ? as sentinel_username and sentinel_password"
        )
    return told


async def _ask_about_tls(link: Link, url: str) -> StoreError | None:
    """Find out whether a server wants a certificate, or speaks TLS where the URL says it doesn't, or the reverse."""
    tls, addresses = link.where.tls, link.where.addresses
    if tls and any(await asyncio.gather(*map(wants_certificate, addresses))):
        return StoreUnusableError(f"the store at {shown_url(url)} {WANTS_CERTIFICATE}")
    answers = await asyncio.gather(*(speaks(address, tls=not tls) for address in addresses))
    if True not in answers:
        return None
    host, port = addresses[answers.index(True)]
    scheme = url.partition("://")[0]
    right = scheme.replace("rediss", "redis") if tls else scheme.replace("redis", "rediss")
    what = "speaks no TLS" if tls else "speaks TLS"
    return StoreUnusableError(f"the store at {shown_url(url)} {what} on {host}:{port}: use {right}:// there")
