"""The environment -> frozen Settings.

Every setting is a `WAITROOM_` variable, a keyword of the middleware and a flag of the command line, of one
name. Keywords (and flags, which arrive as keywords) win over the environment, that over the defaults.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, Unpack

from pydantic import BeforeValidator, ByteSize, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from waitroom.config.environment import PREFIX, ROOMS, our_variables, prefix_of
from waitroom.config.exclusions import DEFAULT_EXCLUDE, adds, together
from waitroom.config.keywords import RoomKeywords
from waitroom.config.kinds import CommaList, Exclusions, Folder, Origins, Patterns, Proxies, commas, setting
from waitroom.config.refusals import refusal, unknown
from waitroom.config.secret_strength import SHORTEST, check_key
from waitroom.config.store_url import check_url
from waitroom.line.window import LARGEST_NUMBER, Tempo

ROOM_NAME = "[A-Za-z0-9_-]{1,40}"
LONGEST_SESSION = 31_536_000.0


def _active(data: dict[str, Any]) -> float:
    # A field that failed its own check is not in `data`; that error is the one to be told.
    return float(data.get("window_interval", 10) * data.get("active_window_count", 30))


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

    redis_url: str = setting(
        "the store: `redis://`, `redis+sentinel://` or `redis+cluster://` (with `rediss` for TLS), `unix://`, or "
        "`embedded://` for a server of its own; see docs/stores.md",
        "redis://host:port/db, redis+sentinel://host:port,host:port/service, redis+cluster://host:port,host:port "
        "(all with rediss for TLS), unix:///path/to/socket or embedded://",
        "embedded://",
        repr=False,
    )
    secret: CommaList = setting(
        "signing keys, newest first, separated by commas; required with a real store, "
        "made and kept beside the embedded one",
        f"one or more keys of at least {SHORTEST} characters each, separated by commas "
        "(`waitroom keygen` makes one)",
        (),
        shown="–",
        repr=False,
    )
    room: str = setting(
        "the room's name", "1 to 40 letters, digits, - and _", "default", pattern=f"^{ROOM_NAME}$"
    )
    paths: Patterns = setting(
        "protected paths, comma-separated; `*` matches anything, the rest is literal",
        "patterns that begin with / or *, separated by commas",
        ("/*",),
    )
    exclude: Exclusions = setting(
        "paths never gated (webhooks, probes, static files); wins over `WAITROOM_PATHS` "
        "where both the literal and the normalised path match; `+/webhooks/*` adds to the default, or in a further "
        "room to what it takes over",
        "patterns that begin with / or *, separated by commas; with a + in front of the first they add to the default",
        DEFAULT_EXCLUDE,
    )
    window_size: int = setting(
        "most visitors who enter per rolling interval",
        "a whole number from 1 to 1000000",
        50,
        ge=1,
        le=1_000_000,
    )
    window_interval: float = setting(
        "the interval, seconds", "seconds, from 0.1 to 86400", 10.0, ge=0.1, le=86_400
    )
    active_window_count: int = setting(
        "windows for which a call stays good", "a whole number from 1 to 100000", 30, ge=1, le=100_000
    )
    capacity: int = setting(
        "most sessions inside",
        f"a whole number from 1 to {LARGEST_NUMBER}",
        lambda data: data.get("window_size", 50) * data.get("active_window_count", 30),
        shown="size × count",
        ge=1,
        le=LARGEST_NUMBER,
    )
    session_seconds: float = setting(
        "idle life of a pass, seconds",
        "seconds, from 1 to 31536000",
        lambda data: min(max(1.0, _active(data)), LONGEST_SESSION),
        shown="interval × count",
        ge=1,
        le=LONGEST_SESSION,
    )
    max_session_seconds: float = setting(
        "life of a session whatever its use, seconds; 0 for no end",
        "seconds, 0 or from 1 to 31536000",
        0.0,
        ge=0,
        le=31_536_000,
    )
    first_lease_seconds: float = setting(
        "how long a first visit keeps its slot after its response, until the cookie has come back, seconds",
        "seconds, from 1 to WAITROOM_SESSION_SECONDS",
        lambda data: min(3.0, data.get("session_seconds", 3.0)),
        shown="3",
        ge=1,
    )
    body_limit: ByteSize = setting(
        "how much of a held request's body is read before its connection is closed: bytes, or a size such as `10MB`",
        "bytes, or a size such as 500KB or 64MB, at most 1TB",
        ByteSize(64_000_000),
        shown="64 MB",
        ge=0,
        le=10**12,
    )
    claim_seconds: float = setting(
        "how long a called visitor is expected at most before the next is called, seconds",
        "seconds, from 0.1 to interval × count",
        lambda data: min(90.0, _active(data)),
        shown="90",
        ge=0.1,
    )
    settle_seconds: float = setting(
        "pause after the store has lost something, seconds: those who were in line before report meanwhile",
        "seconds, from 0.5 to 300",
        5.0,
        ge=0.5,
        le=300,
    )
    sync_seconds: float = setting(
        "age at which a process's view of the room is refreshed, seconds",
        "seconds, from 0.05 to 60",
        0.5,
        ge=0.05,
        le=60,
    )
    store_timeout_seconds: float = setting(
        "how long a visitor waits for the store at most, seconds; then it is taken for away",
        "seconds, from 0.05 to 5",
        0.25,
        ge=0.05,
        le=5,
    )
    status_code: Annotated[Literal[200, 202, 429, 503], BeforeValidator(lambda value: int(str(value)))] = (
        setting("status of the waiting page", "200, 202, 429 or 503", 503)
    )
    on_store_failure: Literal["hold", "open"] = setting(
        "newcomers while the store is away: `hold` them on the page, or `open` the gate",
        "hold or open",
        "hold",
    )
    prefix: str = setting(
        "below it are the gate's own routes",
        "a path such as /_waitroom: it begins with / and does not end with one",
        "/_waitroom",
        pattern=r"^(/[A-Za-z0-9._~-]*[A-Za-z0-9_~-])+$",
    )
    cookie_name: str = setting(
        "followed by `-<room>`; `__Host-` in front over https",
        "1 to 40 letters, digits, - and _",
        "waitroom",
        pattern=r"^[A-Za-z0-9_-]{1,40}$",
    )
    cookie_secure: Literal["auto", "always", "never"] = setting(
        "`Secure` on the cookie: `auto` (by the request's scheme), `always` or `never`",
        "auto, always or never",
        "auto",
    )
    cookie_samesite: Literal["lax", "strict", "none"] = setting(
        "`SameSite` of the cookie; `none` needs https",
        "lax, strict or, unless WAITROOM_COOKIE_SECURE=never, none",
        "lax",
    )
    cookie_domain: str | None = setting(
        "`Domain` of the cookie; by default the host that set it, which is safer",
        "a domain name",
        None,
        shown="–",
        pattern=r"^\.?[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*$",
    )
    cors_origins: Origins = setting(
        "origins whose scripts may read the gate's own 503 and JSON, comma-separated: `https://app.example`, "
        "`capacitor://localhost`, `chrome-extension://…` and the like",
        "scheme://host or scheme://host:port as browsers send them, such as https://shop.example or "
        "capacitor://localhost, separated by commas",
        (),
        shown="–",
    )
    preflights: Literal["pass", "refuse"] = setting(
        "CORS preflights, which carry no pass: `pass` them to the site, without a body and for its CORS headers alone, "
        "or `refuse` them",
        "pass or refuse",
        "pass",
    )
    templates: Folder | None = setting(
        "a folder whose files override the shipped templates", "an existing folder", None, shown="–"
    )
    join_limit: int = setting(
        "numbers that a client (IPv4 address, IPv6 /64) may take in a minute from one process before more is asked "
        "of it; 0 for no limit; see docs/crowds-of-machines.md",
        "a whole number from 0 to 1000000",
        0,
        ge=0,
        le=1_000_000,
    )
    trusted_proxies: Proxies = setting(
        "proxies whose `X-Forwarded-For` tells who the client is, comma-separated: addresses, networks, or `unix`",
        "addresses such as 10.0.0.1, networks such as 10.0.0.0/8, or unix, separated by commas",
        (),
        shown="–",
    )
    challenge: Literal["off", "auto", "always"] = setting(
        "proof of work before a number is given: `always`, `auto` (above `WAITROOM_JOIN_LIMIT`), or `off`: above the "
        "limit nothing but waiting helps; needs `waitroom[challenge]`",
        "off, auto or always",
        "auto",
    )
    challenge_difficulty: int = setting(
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
        if isinstance(paths, str) and not commas(paths):
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
    if adds(entries := commas(own.get("exclude", ()))):
        return settings.model_copy(update={"exclude": together(first.exclude, entries)})
    return settings


def _is_known(variable: str) -> bool:
    return variable in variables() or variable.startswith(ROOMS)


def variables() -> Mapping[str, str]:
    """Map every environment variable that is read to the name of its setting."""
    return {f"{PREFIX}{name.upper()}": name for name in Settings.model_fields}
