"""Which rooms there are: the plain one, and further ones that take over its settings but for their own.

`WAITROOM_ROOMS__SALE__PATHS=/sale/*` makes a room `sale`; so does the keyword `rooms={"sale": {"paths": "/sale/*"}}`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from waitroom.errors import SettingsError
from waitroom.paths import same_paths
from waitroom.settings import PREFIX, ROOMS, Settings, load, load_further, room_variables

NOT_THEIRS = {
    "room": "its name is the one in the variable's",
    "prefix": "the gate's own routes are in one place for all rooms; they tell rooms apart by ?room=",
}
"""Settings that a further room cannot have of its own."""


def load_rooms(rooms: Mapping[str, Mapping[str, Any]] | None = None, **plain: Any) -> tuple[Settings, ...]:
    """Read every room's settings, the plain room's first, from keywords and the environment.

    `plain` with no paths at all (an empty tuple) is a service without a site: none of its rooms needs any.
    Raises SettingsError, one line, for what is wrong.
    """
    first = load(**plain)
    own = _in_environment()
    for name, settings in (rooms or {}).items():
        own[name] = {**own.get(name, {}), **settings}
    further = [_further(first, plain, name, settings) for name, settings in own.items()]
    together = (first, *further)
    check_together(together)
    return together


def check_together(rooms: Sequence[Settings]) -> None:
    """Raise SettingsError where rooms can't be in one process: no room, or two in one another's way."""
    if not rooms:
        raise SettingsError("settings=[] names no room: give at least one")
    names = [settings.room for settings in rooms]
    for name in names:
        if names.count(name) > 1:
            raise SettingsError(f"two rooms are named {name!r}: give each a name of its own")
    for at, settings in enumerate(rooms):
        first = rooms[0]
        if settings.prefix != first.prefix:
            raise SettingsError(
                f"the rooms {first.room!r} and {settings.room!r} have the prefixes {first.prefix} and "
                f"{settings.prefix}: {NOT_THEIRS['prefix']}"
            )
        if not settings.paths and any(other.paths for other in rooms):
            raise SettingsError(f"the room {settings.room!r} has no paths: name those that it protects")
        for other in rooms[at + 1 :]:
            if shared := same_paths(settings.paths, other.paths):
                raise SettingsError(
                    f"the rooms {settings.room!r} and {other.room!r} both protect {shared!r}: "
                    "a path belongs to one room, so take it out of one of them"
                )


def _in_environment() -> dict[str, dict[str, Any]]:
    rooms: dict[str, dict[str, Any]] = {}
    for variable, value in room_variables().items():
        name, _, setting = variable.removeprefix(ROOMS).lower().rpartition("__")
        if not name or not setting:
            raise SettingsError(f"{variable} names no room and setting: write it as {ROOMS}SALE__PATHS")
        rooms.setdefault(name, {})[setting] = value
    return rooms


def _further(first: Settings, plain: Mapping[str, Any], name: str, own: Mapping[str, Any]) -> Settings:
    prefix = f"{ROOMS}{name.upper()}__"
    for setting, why in NOT_THEIRS.items():
        if setting in own:
            raise SettingsError(f"{prefix}{setting.upper()} can't be set: {why}")
    settings = load_further(plain, name, own)
    if "paths" not in own and settings.paths:
        raise SettingsError(
            f"{prefix}PATHS is not set: a further room needs paths of its own, such as /{name}/*; "
            f"{PREFIX}PATHS are those of the room {first.room!r}"
        )
    return settings
