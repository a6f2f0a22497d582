"""The settings as keywords of the middleware, so that an editor knows them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypedDict


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
    preflights: Literal["pass", "refuse"]
    templates: str | Path | None
    join_limit: int
    trusted_proxies: str | Sequence[str]
    challenge: Literal["off", "auto", "always"]
    challenge_difficulty: int


class Keywords(RoomKeywords, total=False):
    """All that the middleware takes: the plain settings, and those of further rooms by their names."""

    rooms: Mapping[str, RoomKeywords]
