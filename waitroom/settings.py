"""The environment -> frozen Settings.

Every setting is a `WAITROOM_` variable, a keyword of the middleware and a flag of the command line, of one
name. Keywords (and flags, which arrive as keywords) win over the environment, that over the defaults.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypedDict, Unpack

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ByteSize,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from waitroom.connections import check_url
from waitroom.environment import PREFIX, ROOMS, our_variables, prefix_of
from waitroom.exclusions import DEFAULT_EXCLUDE, adds, together
from waitroom.origins import check_origin
from waitroom.paths import check_pattern
from waitroom.secret_strength import SHORTEST, check_key
from waitroom.setting_errors import refusal, unknown
from waitroom.window import LARGEST_NUMBER, Tempo

ROOM_NAME = "[A-Za-z0-9_-]{1,40}"
LONGEST_SESSION = 31_536_000.0


def _setting(meaning: str, allowed: str, default: Any = ..., *, shown: str | None = None, **more: Any) -> Any:
    """Describe one setting: what it means, what is allowed, its default and how the table shows that."""
    if callable(default):
        more["default_factory"] = default
    else:
        more["default"] = default
    return Field(description=meaning, json_schema_extra={"allowed": allowed, "shown": shown}, **more)


def _commas(value: Any) -> Any:
    return (
        tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
    )


def _patterns(value: tuple[str, ...]) -> tuple[str, ...]:
    for pattern in value:
        check_pattern(pattern)
    return value


def _excluded(value: Any) -> Any:
    # Checked as it was given, so that an error shows what somebody wrote and not what it adds to.
    entries = _commas(value)
    if isinstance(entries, list | tuple) and all(isinstance(entry, str) for entry in entries):
        return together(DEFAULT_EXCLUDE, entries)
    return entries


CommaList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_commas)]
Patterns = Annotated[CommaList, AfterValidator(_patterns)]
Exclusions = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_excluded)]


def _active(data: dict[str, Any]) -> float:
    # A field that failed its own check is not in `data`; that error is the one to be told.
    return float(data.get("window_interval", 10) * data.get("active_window_count", 30))


class RoomKeywords(TypedDict, total=False):
    """The settings of one room as keywords, so that an editor knows them; tests hold them against `Settings`."""

    redis_url: str
    secret: str | Sequence[str]
    room: str
    paths: str | Sequence[str]
    exclude: str | Sequence[str]
    window_size: int
    window_interval: float
    active_window_count: int
    capacity: int
    session_seconds: float
    max_session_seconds: float
    first_lease_seconds: float
    body_limit: int | str
    claim_seconds: float
    settle_seconds: float
    sync_seconds: float
    store_timeout_seconds: float
    status_code: int
    on_store_failure: Literal["hold", "open"]
    prefix: str
    cookie_name: str
    cookie_secure: Literal["auto", "always", "never"]
    cookie_samesite: Literal["lax", "strict", "none"]
    cookie_domain: str | None
    cors_origins: str | Sequence[str]
    templates: str | Path | None
    join_limit: int
    trusted_proxies: str | Sequence[str]
    challenge: Literal["off", "auto", "always"]
    challenge_difficulty: int


class Keywords(RoomKeywords, total=False):
    """All that the middleware takes: the plain settings, and those of further rooms by their names."""

    rooms: Mapping[str, RoomKeywords]


class Settings(BaseSettings):
    """What one room is told to do. Frozen; seconds are floats, `capacity` and sizes are visitors."""

    def __init__(self, **values: Unpack[RoomKeywords]) -> None:
        try:
            super().__init__(**values)
        except ValidationError as wrong:
            # The value is told only where it is no secret, and the chained error would tell it.
            raise refusal(wrong, Settings.model_fields, PREFIX, values) from None

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        case_sensitive=False,
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        hide_input_in_errors=True,  # it may be a secret
    )

    redis_url: str = _setting(
        "the store: `redis://`, `redis+sentinel://` or `redis+cluster://` (with `rediss` for TLS), `unix://`, or "
        "`embedded://` for a server of its own; see docs/stores.md",
        "redis://host:port/db, redis+sentinel://host:port,host:port/service, redis+cluster://host:port,host:port "
        "(all with rediss for TLS), unix:///path/to/socket or embedded://",
        "embedded://",
        repr=False,
    )
    secret: CommaList = _setting(
        "signing keys, newest first, separated by commas; required with a real store, "
        "made and kept beside the embedded one",
        f"one or more keys of at least {SHORTEST} characters each, separated by commas "
        "(`waitroom keygen` makes one)",
        (),
        shown="–",
        repr=False,
    )
    room: str = _setting(
        "the room's name", "1 to 40 letters, digits, - and _", "default", pattern=f"^{ROOM_NAME}$"
    )
    paths: Patterns = _setting(
        "protected paths, comma-separated; `*` matches anything, the rest is literal",
        "patterns that begin with / or *, separated by commas",
        ("/*",),
    )
    exclude: Exclusions = _setting(
        "paths never gated (webhooks, probes, static files); wins over `WAITROOM_PATHS` "
        "where both the literal and the normalised path match; `+/webhooks/*` adds to the default, or in a further "
        "room to what it takes over",
        "patterns that begin with / or *, separated by commas; with a + in front of the first they add to the default",
        DEFAULT_EXCLUDE,
    )
    window_size: int = _setting(
        "most visitors who enter per rolling interval",
        "a whole number from 1 to 1000000",
        50,
        ge=1,
        le=1_000_000,
    )
    window_interval: float = _setting(
        "the interval, seconds", "seconds, from 0.1 to 86400", 10.0, ge=0.1, le=86_400
    )
    active_window_count: int = _setting(
        "windows for which a call stays good", "a whole number from 1 to 100000", 30, ge=1, le=100_000
    )
    capacity: int = _setting(
        "most sessions inside",
        f"a whole number from 1 to {LARGEST_NUMBER}",
        lambda data: data.get("window_size", 50) * data.get("active_window_count", 30),
        shown="size × count",
        ge=1,
        le=LARGEST_NUMBER,
    )
    session_seconds: float = _setting(
        "idle life of a pass, seconds",
        "seconds, from 1 to 31536000",
        lambda data: min(max(1.0, _active(data)), LONGEST_SESSION),
        shown="interval × count",
        ge=1,
        le=LONGEST_SESSION,
    )
    max_session_seconds: float = _setting(
        "life of a session whatever its use, seconds; 0 for no end",
        "seconds, 0 or from 1 to 31536000",
        0.0,
        ge=0,
        le=31_536_000,
    )
    first_lease_seconds: float = _setting(
        "how long a first visit keeps its slot after its response, until the cookie has come back, seconds",
        "seconds, from 1 to WAITROOM_SESSION_SECONDS",
        lambda data: min(3.0, data.get("session_seconds", 3.0)),
        shown="3",
        ge=1,
    )
    body_limit: ByteSize = _setting(
        "how much of a held request's body is read before its connection is closed: bytes, or a size such as `10MB`",
        "bytes, or a size such as 500KB or 64MB, at most 1TB",
        ByteSize(64_000_000),
        shown="64 MB",
        ge=0,
        le=10**12,
    )
    claim_seconds: float = _setting(
        "how long a called visitor is expected at most before the next is called, seconds",
        "seconds, from 0.1 to interval × count",
        lambda data: min(90.0, _active(data)),
        shown="90",
        ge=0.1,
    )
    settle_seconds: float = _setting(
        "pause after the store has lost something, seconds: those who were in line before report meanwhile",
        "seconds, from 0.5 to 300",
        5.0,
        ge=0.5,
        le=300,
    )
    sync_seconds: float = _setting(
        "age at which a process's view of the room is refreshed, seconds",
        "seconds, from 0.05 to 60",
        0.5,
        ge=0.05,
        le=60,
    )
    store_timeout_seconds: float = _setting(
        "how long a visitor waits for the store at most, seconds; then it is taken for away",
        "seconds, from 0.05 to 5",
        0.25,
        ge=0.05,
        le=5,
    )
    status_code: Annotated[Literal[200, 202, 429, 503], BeforeValidator(lambda value: int(str(value)))] = (
        _setting("status of the waiting page", "200, 202, 429 or 503", 503)
    )
    on_store_failure: Literal["hold", "open"] = _setting(
        "newcomers while the store is away: `hold` them on the page, or `open` the gate",
        "hold or open",
        "hold",
    )
    prefix: str = _setting(
        "below it are the gate's own routes",
        "a path such as /_waitroom: it begins with / and does not end with one",
        "/_waitroom",
        pattern=r"^(/[A-Za-z0-9._~-]*[A-Za-z0-9_~-])+$",
    )
    cookie_name: str = _setting(
        "followed by `-<room>`; `__Host-` in front over https",
        "1 to 40 letters, digits, - and _",
        "waitroom",
        pattern=r"^[A-Za-z0-9_-]{1,40}$",
    )
    cookie_secure: Literal["auto", "always", "never"] = _setting(
        "`Secure` on the cookie: `auto` (by the request's scheme), `always` or `never`",
        "auto, always or never",
        "auto",
    )
    cookie_samesite: Literal["lax", "strict", "none"] = _setting(
        "`SameSite` of the cookie; `none` needs https",
        "lax, strict or, unless WAITROOM_COOKIE_SECURE=never, none",
        "lax",
    )
    cookie_domain: str | None = _setting(
        "`Domain` of the cookie; by default the host that set it, which is safer",
        "a domain name",
        None,
        shown="–",
        pattern=r"^\.?[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*$",
    )
    cors_origins: CommaList = _setting(
        "origins whose scripts may read the gate's own 503 and JSON, comma-separated: `https://app.example`, "
        "`capacitor://localhost`, `chrome-extension://…` and the like",
        "scheme://host or scheme://host:port as browsers send them, such as https://shop.example or "
        "capacitor://localhost, separated by commas",
        (),
        shown="–",
    )
    templates: Path | None = _setting(
        "a folder whose files override the shipped templates", "an existing folder", None, shown="–"
    )
    join_limit: int = _setting(
        "numbers that a client (IPv4 address, IPv6 /64) may take in a minute from one process before more is asked "
        "of it; 0 for no limit; see docs/crowds-of-machines.md",
        "a whole number from 0 to 1000000",
        0,
        ge=0,
        le=1_000_000,
    )
    trusted_proxies: CommaList = _setting(
        "proxies whose `X-Forwarded-For` tells who the client is, comma-separated: addresses, networks, or `unix`",
        "addresses such as 10.0.0.1, networks such as 10.0.0.0/8, or unix, separated by commas",
        (),
        shown="–",
    )
    challenge: Literal["off", "auto", "always"] = _setting(
        "proof of work before a number is given: `always`, `auto` (above `WAITROOM_JOIN_LIMIT`), or `off`: above the "
        "limit nothing but waiting helps; needs `waitroom[challenge]`",
        "off, auto or always",
        "auto",
    )
    challenge_difficulty: int = _setting(
        "work of a challenge: the highest counter that a browser has to try, at 1,000 rounds of PBKDF2 each",
        "a whole number from 1 to 100000",
        1000,
        ge=1,
        le=100_000,
    )

    @field_validator("redis_url")
    @classmethod
    def _scheme_is_known(cls, url: str) -> str:
        if not url.startswith("embedded://"):
            check_url(url)
        return url

    @field_validator("paths", mode="before")
    @classmethod
    def _something_is_named(cls, paths: Any) -> Any:
        # A service without a site protects none, and says so with an empty tuple; a stray comma is a mistake.
        if isinstance(paths, str) and not _commas(paths):
            raise ValueError
        return paths

    @field_validator("secret")
    @classmethod
    def _keys_are_strong(cls, keys: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        for key in keys:
            check_key(key)
        if not keys and not info.data.get("redis_url", "embedded://").startswith("embedded://"):
            raise ValueError("required with a real store")
        return keys

    @field_validator("max_session_seconds")
    @classmethod
    def _no_end_or_a_second(cls, seconds: float) -> float:
        if 0 < seconds < 1:
            raise ValueError
        return seconds

    @field_validator("first_lease_seconds")
    @classmethod
    def _first_lease_fits(cls, seconds: float, info: ValidationInfo) -> float:
        if seconds > info.data.get("session_seconds", seconds):
            raise ValueError
        return seconds

    @field_validator("claim_seconds")
    @classmethod
    def _claim_fits(cls, seconds: float, info: ValidationInfo) -> float:
        if seconds > _active(info.data):
            raise ValueError
        return seconds

    @field_validator("cookie_samesite")
    @classmethod
    def _none_needs_secure(cls, samesite: str, info: ValidationInfo) -> str:
        if samesite == "none" and info.data.get("cookie_secure") == "never":
            raise ValueError
        return samesite

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            check_origin(origin)
        return origins

    @field_validator("templates")
    @classmethod
    def _folder_exists(cls, folder: Path | None) -> Path | None:
        if folder is not None and not folder.is_dir():
            raise ValueError
        return folder

    @field_validator("trusted_proxies")
    @classmethod
    def _are_proxies(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            if proxy != "unix":
                ip_network(proxy)
        return proxies

    @property
    def counts_clients(self) -> bool:
        """Whether it ever matters who the client is."""
        return self.join_limit > 0 or self.challenge == "always"

    @property
    def challenges(self) -> bool:
        """Whether there is ever a challenge."""
        return self.counts_clients and self.challenge != "off"

    @property
    def active_seconds(self) -> float:
        """How long a called visitor has to come in."""
        return self.window_interval * self.active_window_count

    @property
    def running_seconds(self) -> float:
        """For how long the store takes a first visit's request to run; the process that serves it says so again."""
        return max(2.0, 4 * self.sync_seconds)

    @cached_property
    def tempo(self) -> Tempo:
        """How fast this room moves at most."""
        return Tempo.of(self.window_size, self.window_interval, self.active_window_count)


def load(**keywords: Any) -> Settings:
    """Read the plain settings from keywords and the environment; raises SettingsError, one line, for what is wrong."""
    names = [f"{PREFIX}{name.upper()}" for name in keywords if name not in Settings.model_fields]
    names += [name for name in our_variables() if not _is_known(name.upper())]
    if names:
        raise unknown(names, variables())
    return Settings(**keywords)


def load_further(plain: Mapping[str, Any], room: str, own: Mapping[str, Any], first: Settings) -> Settings:
    """Read the settings of a further room: its own, else the plain ones, `first` if read; raises SettingsError."""
    own = {**own, "room": room}
    settings = Settings.__new__(Settings)
    try:
        # Not by its own __init__, which would name the plain variables.
        BaseSettings.__init__(settings, **{**plain, **own})
    except ValidationError as wrong:
        raise refusal(wrong, Settings.model_fields, prefix_of(room), own) from None
    if adds(entries := _commas(own.get("exclude", ()))):
        return settings.model_copy(update={"exclude": together(first.exclude, entries)})
    return settings


def _is_known(variable: str) -> bool:
    return variable in variables() or variable.startswith(ROOMS)


def variables() -> Mapping[str, str]:
    """Map every environment variable that is read to the name of its setting."""
    return {f"{PREFIX}{name.upper()}": name for name in Settings.model_fields}
