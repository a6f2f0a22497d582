"""What `waitroom check` finds out about a store: whether it will do, what this user may not, how it answers."""

import asyncio
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from waitroom.check.settings import Finding, Level
from waitroom.config.environment import PREFIX
from waitroom.config.settings import Settings
from waitroom.config.store_url import shown_url
from waitroom.errors import EmbeddedError, StoreError
from waitroom.store.embedded.server import share
from waitroom.store.errors import RIGHTS
from waitroom.store.transitions import Store

ROUND_TRIPS = 5
PATIENCE_SECONDS = 5.0
SLOW_PART = 1 / 5
"""Of the time that a visitor waits for the store at most: a longer round trip soon uses it up."""
FAR_SECONDS = 5.0
"""A difference of clocks that is worth a word."""


@dataclass(frozen=True, slots=True)
class StoreReport:
    """What a store has told; None where it does not, or could not be asked."""

    store: str
    server: str | None = None
    """redis or valkey."""
    version: str | None = None
    mode: str | None = None
    maxmemory_policy: str | None = None
    persistent: bool | None = None
    missing_rights: list[str] | None = None
    latency_ms: float | None = None
    clock_offset_ms: float | None = None


async def check_store(rooms: Sequence[Settings]) -> tuple[StoreReport, list[Finding]]:
    """Try the store of these rooms, which is one; an error among the findings means that it can't be used."""
    url = rooms[0].redis_url
    if not url.startswith("embedded://"):
        return await _try(url, rooms)
    try:
        shared = await asyncio.to_thread(share)
    except EmbeddedError as error:
        return StoreReport("embedded://"), [Finding("error", "embedded://", str(error))]
    try:
        report, findings = await _try(shared.url, rooms)
    finally:
        shared.close()
    return report, [*(finding for finding in findings if finding.level == "error"), _alone()]


def _alone() -> Finding:
    message = (
        "this server lives as long as the site and on this machine alone: with several machines, or to keep the "
        f"line over a restart, name one with {PREFIX}REDIS_URL"
    )
    return Finding("note", "embedded://", message)


async def _try(url: str, rooms: Sequence[Settings]) -> tuple[StoreReport, list[Finding]]:
    shown = shown_url(url)
    stores = [Store(url, settings) for settings in rooms]
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            report = await _asked(stores, shown)
    except TimeoutError:
        message = f"the store at {shown} does not answer within {PATIENCE_SECONDS:g} s"
        return StoreReport(shown), [Finding("error", shown, message)]
    except StoreError as error:
        return StoreReport(shown), [Finding("error", shown, str(error))]
    finally:
        for store in stores:
            await store.close()
    return report, _findings(report, min(settings.store_timeout_seconds for settings in rooms))


async def _asked(stores: Sequence[Store], shown: str) -> StoreReport:
    first = stores[0]
    facts = await first.facts()
    # Rights may be granted for the keys of some rooms alone.
    missing = sorted({name for store in stores for name in await store.missing_rights()})
    report = StoreReport(shown, **facts._asdict(), missing_rights=missing)
    if missing:
        return report
    for store in stores:
        await store.try_write()
        await store.look()  # the way that all scripts are called
    clocked = [await first.clock() for _ in range(ROUND_TRIPS)]
    return replace(
        report,
        persistent=await first.is_lasting(),
        latency_ms=round(statistics.median(round_trip for round_trip, _ in clocked) * 1000, 2),
        # The quickest answer tells the time best.
        clock_offset_ms=round(min(clocked).ahead * 1000, 1),
    )


def _findings(report: StoreReport, timeout_seconds: float) -> list[Finding]:
    found: list[tuple[Level, str]] = []
    if report.missing_rights:
        missing = ", ".join(report.missing_rights)
        found.append(("error", f"this user may not call {missing}; {RIGHTS}"))
    if report.maxmemory_policy and report.maxmemory_policy.startswith("allkeys-"):
        message = (
            f"maxmemory-policy {report.maxmemory_policy} throws parts of the line away when memory is short; "
            "set maxmemory-policy noeviction"
        )
        found.append(("warning", message))
    if report.version is None:
        message = "this user may not call INFO: its version, maxmemory-policy and persistence are not known"
        found.append(("note", message))
    if report.persistent is False:
        message = "neither an append-only file nor a replica: a restart begins a new line; set appendonly yes"
        found.append(("warning", message))
    if report.latency_ms is not None and report.latency_ms > timeout_seconds * SLOW_PART * 1000:
        message = (
            f"answers in {report.latency_ms:g} ms; a call is given up after {timeout_seconds * 1000:g} ms and the "
            "store taken for away: put it nearer to the site"
        )
        found.append(("warning", message))
    if report.clock_offset_ms is not None and abs(report.clock_offset_ms) > FAR_SECONDS * 1000:
        message = (
            f"its clock is {report.clock_offset_ms / 1000:+.1f} s off this machine's: no harm, as the line goes by "
            "the store's; only the logs disagree"
        )
        found.append(("note", message))
    return [Finding(level, report.store, message) for level, message in found]
