"""`waitroom check` as a whole: what it asks, and how it tells it to people and to programs."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from waitroom.check.settings import Finding, Judged, check_settings, judge
from waitroom.check.store import StoreReport, check_store
from waitroom.config.settings import Settings
from waitroom.config.store_url import shown_url
from waitroom.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Report:
    """All that was found out."""

    rooms: Sequence[Settings] = ()
    urls: Sequence[Judged] = ()
    stores: Sequence[StoreReport] = ()
    findings: list[Finding] = field(default_factory=list)
    is_store_unusable: bool = False

    @property
    def ok(self) -> bool:
        """Whether the site would start."""
        return not any(finding.level == "error" for finding in self.findings)

    @property
    def has_warnings(self) -> bool:
        """Whether something is allowed, but unwise."""
        return any(finding.level == "warning" for finding in self.findings)


def refused(error: SettingsError) -> Report:
    """Report settings that are no settings: nothing else can be found out."""
    return Report(findings=[Finding("error", "settings", message) for message in (str(error), *error.others)])


def check(rooms: Sequence[Settings], urls: Sequence[str], root_path: str, proxies: str | None) -> Report:
    """Look into all of it."""
    judged, of_urls = judge(rooms, urls, root_path)
    by_url: dict[str, list[Settings]] = {}
    for settings in rooms:
        by_url.setdefault(settings.redis_url, []).append(settings)
    stores, of_stores = asyncio.run(_check_stores(list(by_url.values())))
    unusable = any(finding.level == "error" for finding in of_stores)
    findings = [*of_stores, *of_urls, *check_settings(rooms, judged, proxies)]
    return Report(rooms, judged, stores, findings, unusable)


async def _check_stores(stores: Sequence[Sequence[Settings]]) -> tuple[list[StoreReport], list[Finding]]:
    told = await asyncio.gather(*map(check_store, stores))
    return [report for report, _ in told], [finding for _, found in told for finding in found]


def as_document(report: Report) -> dict[str, Any]:
    """Tell it to a program."""
    rooms = [
        {
            "room": settings.room,
            "paths": list(settings.paths),
            "exclude": list(settings.exclude),
            "store": shown_url(settings.redis_url),
        }
        for settings in report.rooms
    ]
    urls = [
        asdict(judged) | {"rules": [{"room": room, "pattern": pattern} for room, pattern in judged.rules]}
        for judged in report.urls
    ]
    return {
        "ok": report.ok,
        "rooms": rooms,
        "urls": urls,
        "stores": [asdict(store) for store in report.stores],
        "findings": [asdict(finding) for finding in report.findings],
    }


def as_text(report: Report) -> str:
    """Tell it to a person, a line each."""
    lines = [("room", f"{settings.room}: {', '.join(settings.paths)}") for settings in report.rooms]
    lines += [("store", _store(store)) for store in report.stores if store.latency_ms is not None]
    lines += [(judged.treatment, _judged(judged)) for judged in report.urls]
    lines += [(finding.level, f"{finding.about}: {finding.message}") for finding in report.findings]
    if report.ok and not report.has_warnings:
        lines.append(("ok", "nothing is wrong"))
    return "\n".join(f"{word:<10} {text}" for word, text in lines)


def _store(store: StoreReport) -> str:
    told = (
        ("{}", " ".join(filter(None, (store.server, store.version))) or None),
        ("{}", store.mode),
        ("maxmemory-policy {}", store.maxmemory_policy),
        ("answers in {} ms", store.latency_ms),
        ("clock {:+g} ms", store.clock_offset_ms),
    )
    return f"{store.store}: " + ", ".join(text.format(fact) for text, fact in told if fact is not None)


def _judged(judged: Judged) -> str:
    if not judged.rules:
        return judged.url
    rules = " and ".join(f"room {room}, rule {pattern}" for room, pattern in judged.rules)
    return f"{judged.url}  by {rules}"
