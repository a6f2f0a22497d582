"""What `waitroom status` shows of the rooms."""

import asyncio
from collections.abc import Sequence
from typing import Any

from waitroom.config.settings import Settings
from waitroom.config.store_url import shown_url
from waitroom.errors import StoreError
from waitroom.line.predictions import LIMITS, accuracy
from waitroom.store.embedded.server import running
from waitroom.store.transitions import Store

Row = tuple[str, str]

COUNTS = (
    "generation",
    "issued",
    "called",
    "floor",
    "waiting",
    "inside",
    "first_leases",
    "capacity",
    "window_size",
    "entered_in_interval",
    "promised",
    "at_the_door",
    "ended_early",
)


def store_url(settings: Settings) -> str:
    """Find the store to look at; raises StoreError where the embedded one is not plain to see."""
    if not settings.redis_url.startswith("embedded://"):
        return settings.redis_url
    sockets = running()
    if len(sockets) == 1:
        return f"unix://{sockets[0]}"
    if not sockets:
        raise StoreError("no embedded server of yours is running; name a store with --redis-url")
    urls = ", ".join(f"unix://{socket}" for socket in sockets)
    raise StoreError(
        f"{len(sockets)} embedded servers of yours are running; name one with --redis-url: {urls}"
    )


def find_rooms(rooms: Sequence[Settings], only: str | None = None) -> list[tuple[Settings, str]]:
    """Find what to look at: the room named `only`, else those of the settings and all others in their stores.

    Answers each with the url of its store; raises StoreError where the embedded one is not plain to see.
    """
    if only is not None:
        named = [settings for settings in rooms if settings.room == only]
        settings = named[0] if named else rooms[0].model_copy(update={"room": only})
        return [(settings, store_url(settings))]
    placed = [(settings, store_url(settings)) for settings in rooms]
    known = {(url, settings.room) for settings, url in placed}
    for settings, url in {url: (settings, url) for settings, url in placed}.values():
        others = sorted(set(asyncio.run(_names(settings, url))) - {name for at, name in known if at == url})
        placed += [(settings.model_copy(update={"room": name}), url) for name in others]
    return placed


async def read_rooms(rooms: Sequence[tuple[Settings, str]]) -> list[dict[str, Any]]:
    """Read each room that has begun; one whose store fails has an `error` in place of its counts.

    Raises StoreError where there is nothing else to tell.
    """
    told = await asyncio.gather(*(_read(settings, url) for settings, url in rooms))
    begun = [fields for fields in told if fields]
    if not begun:
        settings, url = rooms[0]
        raise StoreError(f"there is no room {settings.room!r} in the store at {shown_url(url)} yet")
    if all("error" in fields for fields in begun):
        raise StoreError(begun[0]["error"])
    return begun


async def _names(settings: Settings, url: str) -> list[str]:
    store = Store(url, settings)
    try:
        return await store.rooms()
    except StoreError:
        return []  # reading its rooms will tell
    finally:
        await store.close()


async def _read(settings: Settings, url: str) -> dict[str, Any] | None:
    store = Store(url, settings)
    fields: dict[str, Any] = {"room": settings.room, "store": shown_url(url)}
    try:
        told = await store.look()
    except StoreError as error:
        return fields | {"error": str(error)}
    finally:
        await store.close()
    if not told:
        return None
    fields["epoch"] = told["epoch"]
    fields |= {name: None if told[name] is None else int(told[name]) for name in COUNTS}
    fields["counters"] = told["counters"]
    told_waits = accuracy(told["counters"])
    fields["predictions"] = told_waits and told_waits._asdict()
    interval = told["interval_us"]
    return fields | {"window_interval": None if interval is None else int(interval) / 1_000_000}


def table(fields: dict[str, Any]) -> str:
    """Lay out the status for a terminal."""
    if "error" in fields:
        return "{room:<13} {error}".format(**fields)
    entered = "{entered_in_interval} of {window_size} in the last {window_interval:g} s"
    rows: list[Row] = [
        ("room", "{room}  ({store})"),
        ("inside", "{inside} of {capacity}, {first_leases} of them on a first lease"),
        ("entered", entered),
        ("waiting", "{waiting:,}"),
        ("called", "{called:,} of {issued:,} issued; turns passed up to {floor:,}"),
        ("not in yet", "{promised} called lately who have not come, {at_the_door} at the door"),
        ("waits told", _waits_told(fields["predictions"])),
        ("ended early", "{ended_early}"),
        ("epoch", "{epoch}, generation {generation}"),
    ]
    return "\n".join(f"{name:<13} {text.format(**fields)}" for name, text in rows)


def _waits_told(predictions: dict[str, Any] | None) -> str:
    if predictions is None:
        return "none yet that are over"
    error = predictions["median_error"]
    told = f"over {LIMITS[-1]} %" if error is None else f"{error:.0%}".replace("%", " %")
    kept = f"{predictions['share_kept']:.0%}".replace("%", " %")
    return f"{kept} of {predictions['waits']:,} within their range; median error {told}"
