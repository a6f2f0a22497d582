"""What `waitroom status` shows of a room."""

from typing import Any

from waitroom.embedded import running
from waitroom.errors import StoreError
from waitroom.settings import Settings
from waitroom.store import Store
from waitroom.store_url import shown_url

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


async def read_status(settings: Settings, url: str) -> dict[str, Any]:
    """Read the room; raises StoreError."""
    store = Store(url, settings)
    try:
        told = await store.look()
    finally:
        await store.close()
    if not told:
        raise StoreError(f"there is no room {settings.room!r} in the store at {shown_url(url)} yet")
    fields: dict[str, Any] = {"room": settings.room, "store": shown_url(url), "epoch": told["epoch"]}
    fields |= {name: None if told[name] is None else int(told[name]) for name in COUNTS}
    interval = told["interval_us"]
    return fields | {"window_interval": None if interval is None else int(interval) / 1_000_000}


def table(fields: dict[str, Any]) -> str:
    """Lay out the status for a terminal."""
    entered = "{entered_in_interval} of {window_size} in the last {window_interval:g} s"
    rows: list[Row] = [
        ("room", "{room}  ({store})"),
        ("inside", "{inside} of {capacity}, {first_leases} of them on a first lease"),
        ("entered", entered),
        ("waiting", "{waiting:,}"),
        ("called", "{called:,} of {issued:,} issued; turns passed up to {floor:,}"),
        ("on their way", "{promised} called and expected, {at_the_door} at the door"),
        ("ended early", "{ended_early}"),
        ("epoch", "{epoch}, generation {generation}"),
    ]
    return "\n".join(f"{name:<13} {text.format(**fields)}" for name, text in rows)
