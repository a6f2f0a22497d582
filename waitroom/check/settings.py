"""What `waitroom check` says of the settings, and of the URLs that it is given; asks no store."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote, urlsplit

from waitroom.check.machine_paths import CERTIFICATES, ROBOTS, Kind, kinds_of
from waitroom.config.environment import PREFIX, prefix_of
from waitroom.config.exclusions import ADDS, DEFAULT_EXCLUDE
from waitroom.config.settings import Settings
from waitroom.errors import SettingsError, WaitroomError
from waitroom.page.pages import Pages
from waitroom.paths.owners import Owners
from waitroom.paths.patterns import check_pattern, strip_root

Level = Literal["note", "warning", "error"]
Told = tuple[Level, str] | None

MADE_UP = re.compile(r"secret|change|example|passwo?r?d|waitroom|default|123456|abcdef|qwerty")
"""Parts of keys that people write; in a random one of 43 letters and digits they turn up once in a million."""
MOST_LISTED = 200_000
"""Sessions that ended early which the store lists at most, by the rate; `LISTED_PER_SLOT` where that is more."""
LISTED_PER_SLOT = 50
FEWEST_CHARACTERS = 8
"""Different ones in a key: 32 random digits of base 16 have fewer once in ten million."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that `check` says; `about` is a setting's variable, a URL or a store."""

    level: Level
    about: str
    message: str


@dataclass(frozen=True, slots=True)
class Judged:
    """How a URL is treated; `rules` are the rooms that have it, each with the pattern that says so."""

    url: str
    path: str
    treatment: Literal["gated", "excluded", "free", "own route"]
    rules: tuple[tuple[str, str], ...] = ()


def path_of(url: str) -> str:
    """The path that a server makes of a URL, or of a path alone; raises SettingsError where it is neither."""
    if url.startswith("/"):
        return unquote(re.split(r"[?#]", url, maxsplit=1)[0])
    try:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname:
            return unquote(parts.path) or "/"
    except ValueError:
        pass
    raise SettingsError("is no URL: write https://host/path, or a path that begins with /")


def judge(
    rooms: Sequence[Settings], urls: Sequence[str], root_path: str = ""
) -> tuple[list[Judged], list[Finding]]:
    """Tell of each URL which rooms have it, and by which rule; findings are for what is no URL."""
    owners = Owners([(settings.paths, settings.exclude) for settings in rooms])
    judged, findings = [], []
    for url in urls:
        try:
            judged.append(_judge(rooms, owners, url, strip_root(path_of(url), root_path)))
        except SettingsError as error:
            findings.append(Finding("error", url, str(error)))
    return judged, findings


def _judge(rooms: Sequence[Settings], owners: Owners, url: str, path: str) -> Judged:
    if path.startswith(f"{rooms[0].prefix}/"):
        return Judged(url, path, "own route")
    found = owners.rules_of(path)
    gating = [rule for rule in found if not rule.excludes]
    told = tuple((rooms[rule.room].room, rule.pattern) for rule in gating or found)
    return Judged(url, path, "gated" if gating else "excluded" if found else "free", told)


def check_settings(rooms: Sequence[Settings], urls: Sequence[Judged], proxies: str | None) -> list[Finding]:
    """Find what is unwise in settings that are valid; `proxies` are those that the server believes, if named."""
    each = [finding for settings in rooms for finding in _room(rooms, settings)]
    return [*each, *_proxies(rooms, urls, proxies), *_machines(rooms, urls), *_origins(urls)]


def _room(rooms: Sequence[Settings], settings: Settings) -> Iterator[Finding]:
    for name, look in LOOKS.items():
        # What a further room has taken over is told of the plain setting alone.
        is_own = settings is rooms[0] or getattr(settings, name) != getattr(rooms[0], name)
        if is_own and (told := look(settings)):
            level, message = told
            yield Finding(level, variable(rooms, settings, name), message)


def _templates(settings: Settings) -> Told:
    try:
        Pages(settings.templates)
    except WaitroomError as error:
        return "error", str(error)
    return None


def _secret(settings: Settings) -> Told:
    if not any(MADE_UP.search(key.lower()) or len(set(key)) < FEWEST_CHARACTERS for key in settings.secret):
        return None
    return "warning", (
        "a key looks made up or copied from an example: whoever guesses it signs places and passes of their own; "
        "make one with `waitroom keygen`"
    )


def _cookie_domain(settings: Settings) -> Told:
    if settings.cookie_domain is None:
        return None
    return "note", (
        f"every host below {settings.cookie_domain} sees the gate's cookie and can set it; without a domain the "
        "browser keeps it for this host alone"
    )


def _trusted_proxies(settings: Settings) -> Told:
    if settings.counts_clients and not settings.trusted_proxies:
        return "note", (
            "no proxy is named: behind one, all visitors count as one client, and nearly everyone is over the limit; "
            "name the addresses that it connects from"
        )
    if any(proxy.endswith("/0") for proxy in settings.trusted_proxies):
        return "warning", (
            "everyone's X-Forwarded-For is believed, so each request can be another client: name the proxies alone"
        )
    return None


def _status_code(settings: Settings) -> Told:
    if settings.status_code != 200:
        return None
    return "warning", (
        "a service worker or a cache in front may keep the page with status 200 as if it were the site's own and show "
        "it for ever: 503 says what it is"
    )


def _session_seconds(settings: Settings) -> Told:
    listed = max(MOST_LISTED, LISTED_PER_SLOT * settings.capacity)
    leave = settings.capacity + settings.window_size * (
        1 + settings.session_seconds / settings.window_interval
    )
    if leave <= listed:
        return None
    return "warning", (
        f"{leave:,.0f} visitors could enter and leave before the pass of the first runs out, and {listed:,} are "
        "remembered: beyond that leaving frees no slot until the pass runs out, so that whoever comes and goes often "
        "enough fills the room; a shorter session or a lower rate keeps below"
    )


LOOKS: dict[str, Callable[[Settings], Told]] = {
    "templates": _templates,
    "secret": _secret,
    "cookie_domain": _cookie_domain,
    "trusted_proxies": _trusted_proxies,
    "status_code": _status_code,
    "session_seconds": _session_seconds,
}


def variable(rooms: Sequence[Settings], settings: Settings, name: str) -> str:
    """The variable that one setting of one of the rooms is set by."""
    prefix = PREFIX if settings is rooms[0] else prefix_of(settings.room)
    return f"{prefix}{name.upper()}"


def _proxies(rooms: Sequence[Settings], urls: Sequence[Judged], proxies: str | None) -> list[Finding]:
    automatic = [settings for settings in rooms if settings.cookie_secure == "auto"]
    if proxies is not None and "*" in proxies.split(","):
        message = (
            "every proxy is believed: fine where nothing but the proxy can reach the server, else name it"
        )
        return [Finding("note", "FORWARDED_ALLOW_IPS", message)]
    if proxies is not None or not automatic:
        return []
    cure = f"name the proxy's address with --forwarded-allow-ips, or set {PREFIX}COOKIE_SECURE=always"
    is_https = any(judged.url.lower().startswith("https:") for judged in urls)
    if is_https or any(settings.cookie_samesite == "none" for settings in automatic):
        message = (
            "the site is on https and no proxy is named: unless the server ends TLS itself, or the proxy is on "
            f"127.0.0.1, visitors seem to come by http and the cookie is not Secure; {cure}"
        )
        return [Finding("warning", "FORWARDED_ALLOW_IPS", message)]
    message = f"no proxy is named: where one ends TLS in front of the server, {cure}"
    return [Finding("note", "FORWARDED_ALLOW_IPS", message)]


def _origins(urls: Sequence[Judged]) -> Iterator[Finding]:
    parts = [urlsplit(judged.url) for judged in urls if not judged.url.startswith("/")]
    origins = sorted({f"{part.scheme}://{part.netloc}".lower() for part in parts})
    if len(origins) > 1:
        message = (
            f"they are of several origins, {' and '.join(origins)}: what redirects from one to another belongs in "
            "front of the gate, in the proxy or as the outermost middleware; from behind it a visitor's number does "
            "not go along"
        )
        yield Finding("note", "URLs", message)


def _machines(rooms: Sequence[Settings], urls: Sequence[Judged]) -> Iterator[Finding]:
    """What is said of gated paths that programs or other sites' pages lead to, and one cure for all of a room's."""
    if not urls:
        message = (
            "none were given: name those that payment pages, login pages, webhooks and probes come to, to have them "
            "judged"
        )
        yield Finding("note", "URLs", message)
    for settings in rooms:
        gated = [
            (judged, pattern, kind)
            for judged in urls
            if judged.treatment == "gated"
            for room, pattern in judged.rules
            if room == settings.room
            for kind in kinds_of(judged.path)
            if kind.comers == "programs" or settings.cookie_samesite != "none"
        ]
        for judged, pattern, kind in gated:
            yield Finding("warning", judged.url, _trouble(rooms, settings, pattern, kind))
        lost = _lost_defaults(rooms, settings)
        if lost:
            message = f"the list replaces the default one, so these are gated: {'; '.join(lost.values())}"
            yield Finding("warning", variable(rooms, settings, "exclude"), message)
        if paths := [*lost, *(judged.path for judged, _, _ in gated)]:
            yield _cure(rooms, settings, paths)


def _trouble(rooms: Sequence[Settings], settings: Settings, pattern: str, kind: Kind) -> str:
    samesite = settings.cookie_samesite.capitalize()
    how = "sends them" if samesite == "Strict" else "sends a form (POST)"
    told = (
        f"looks like {kind.looks_like}, gated by {pattern}: {kind.trouble.format(how=how, samesite=samesite)}"
    )
    if kind.comers == "programs":
        return told
    return f"{told}; let it pass, or on https set {variable(rooms, settings, 'cookie_samesite')}=none"


def _lost_defaults(rooms: Sequence[Settings], settings: Settings) -> dict[str, str]:
    """Patterns of the default list for what most sites have, where this room gates it, each with the trouble."""
    owners = Owners([(one.paths, one.exclude) for one in rooms])
    wanted = (
        ("/robots.txt", "/robots.txt", ROBOTS),
        ("/.well-known/*", "/.well-known/acme-challenge/x", CERTIFICATES),
    )
    return {
        pattern: f"{pattern}, {kind.looks_like}, {kind.trouble}"
        for pattern, path, kind in wanted
        if rooms.index(settings) in owners.rooms_of(path)
    }


def _cure(rooms: Sequence[Settings], settings: Settings, paths: Sequence[str]) -> Finding:
    """One line that lets all of these pass, and all that passes already."""
    exclude = variable(rooms, settings, "exclude")
    told = list(dict.fromkeys(path for path in paths if _is_pattern(path)))
    rest = (
        "" if len(told) == len(set(paths)) else "; for the others, a pattern without the signs that they have"
    )
    if not told:
        return Finding("note", exclude, "let them pass with patterns in this list")
    return Finding(
        "note",
        exclude,
        f"let {'it' if len(told) == 1 else 'them'} pass with {exclude}={_list(rooms, settings, told)}{rest}",
    )


def _list(rooms: Sequence[Settings], settings: Settings, paths: Sequence[str]) -> str:
    """The room's list with these paths, as an addition where it contains what it would add to."""
    before = DEFAULT_EXCLUDE if settings is rooms[0] else rooms[0].exclude
    if settings is rooms[0] or set(before) <= set(settings.exclude):
        own = [pattern for pattern in (*settings.exclude, *paths) if pattern not in before]
        return ADDS + ",".join(own or before)
    return ",".join((*settings.exclude, *paths))


def _is_pattern(path: str) -> bool:
    """Whether a path as it stands is a pattern that means it alone, or one of the default list."""
    try:
        check_pattern(path)
    except SettingsError:
        return False
    return path in DEFAULT_EXCLUDE or ("*" not in path and "," not in path)
