"""What `waitroom check` says of the settings, and of the URLs that it is given; asks no store."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote, urlsplit

from waitroom.areas import Areas
from waitroom.environment import PREFIX, prefix_of
from waitroom.errors import SettingsError, WaitroomError
from waitroom.pages import Pages
from waitroom.paths import check_pattern, strip_root
from waitroom.settings import Settings

Level = Literal["note", "warning", "error"]
Told = tuple[Level, str] | None

MADE_UP = re.compile(r"secret|change|example|passwo?r?d|waitroom|default|123456|abcdef|qwerty")
"""Parts of keys that people write; in a random one of 43 letters and digits they turn up once in a million."""
FEWEST_CHARACTERS = 8
"""Different ones in a key: 32 random digits of base 16 have fewer once in ten million."""

FROM_SERVERS = re.compile(r"webhooks?|hooks?|ipn|notify|notifications?|postback|callback")
FROM_BROWSERS = re.compile(r"callback|return|success|complete|confirm|3ds|3dsecure|payment|cancel")
WORDS = re.compile(r"[a-z0-9]+")


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
    areas = Areas([(settings.paths, settings.exclude) for settings in rooms])
    judged, findings = [], []
    for url in urls:
        try:
            judged.append(_judge(rooms, areas, url, strip_root(path_of(url), root_path)))
        except SettingsError as error:
            findings.append(Finding("error", url, str(error)))
    return judged, findings


def _judge(rooms: Sequence[Settings], areas: Areas, url: str, path: str) -> Judged:
    if path.startswith(f"{rooms[0].prefix}/"):
        return Judged(url, path, "own route")
    found = areas.rules_of(path)
    gating = [rule for rule in found if not rule.excludes]
    told = tuple((rooms[rule.room].room, rule.pattern) for rule in gating or found)
    return Judged(url, path, "gated" if gating else "excluded" if found else "free", told)


def check_settings(rooms: Sequence[Settings], urls: Sequence[Judged], proxies: str | None) -> list[Finding]:
    """Find what is unwise in settings that are valid; `proxies` are those that the server believes, if named."""
    each = [finding for settings in rooms for finding in _room(rooms, settings)]
    return [*each, *_proxies(rooms, urls, proxies), *_callbacks(rooms, urls)]


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


LOOKS: dict[str, Callable[[Settings], Told]] = {
    "templates": _templates,
    "secret": _secret,
    "cookie_domain": _cookie_domain,
    "trusted_proxies": _trusted_proxies,
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


def _callbacks(rooms: Sequence[Settings], urls: Sequence[Judged]) -> list[Finding]:
    if not urls:
        message = "none were given: name those that payment pages and webhooks come to, to have them judged"
        return [Finding("note", "URLs", message)]
    by_name = {settings.room: settings for settings in rooms}
    return [
        finding
        for judged in urls
        if judged.treatment == "gated"
        for room, pattern in judged.rules
        for finding in _callback(rooms, by_name[room], judged, pattern)
    ]


def _callback(rooms: Sequence[Settings], settings: Settings, judged: Judged, pattern: str) -> list[Finding]:
    words = WORDS.findall(judged.path.lower())
    samesite = settings.cookie_samesite.capitalize()
    free = _exclusion(rooms, settings, judged.path)
    findings = []
    if any(map(FROM_SERVERS.fullmatch, words)):
        message = (
            f"looks like a call by another server, which keeps no cookies: gated by {pattern} it is held whenever "
            f"there is a line; {free}"
        )
        findings.append(Finding("warning", judged.url, message))
    if any(map(FROM_BROWSERS.fullmatch, words)) and samesite != "None":
        how = "sends them" if samesite == "Strict" else "sends a form (POST)"
        message = (
            f"looks like a return from a payment page: where that page {how} from another site, the browser keeps "
            f"a SameSite={samesite} cookie back and the visitor is held; {free}, or on https set "
            f"{variable(rooms, settings, 'cookie_samesite')}=none"
        )
        findings.append(Finding("warning", judged.url, message))
    return findings


def _exclusion(rooms: Sequence[Settings], settings: Settings, path: str) -> str:
    """How to let a path pass; written out where the path as it stands is a pattern that means it alone."""
    exclude = variable(rooms, settings, "exclude")
    try:
        check_pattern(path)
    except SettingsError:
        return f"let it pass with a pattern in {exclude}"
    if "*" in path or "," in path:
        return f"let it pass with a pattern in {exclude}"
    return f"let it pass with {exclude}={','.join((*settings.exclude, path))}"
