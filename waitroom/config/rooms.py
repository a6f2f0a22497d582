"""Which rooms there are: the plain one, and further ones that take over its settings but for their own.

`WAITROOM_ROOMS__SALE__PATHS=/sale/*` makes a room `sale`; so does the keyword `rooms={"sale": {"paths": "/sale/*"}}`.
"""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from waitroom.config.environment import PREFIX, further_rooms, prefix_of
from waitroom.config.settings import Settings, load, load_further
from waitroom.errors import SettingsError
from waitroom.paths.patterns import same_paths

NOT_THEIRS = {
    "room": "its name is the one in the variable's",
    "prefix": "the gate's own routes are in one place for all rooms; they tell rooms apart by ?room=",
}
"""Settings that a further room cannot have of its own."""


def load_rooms(
    rooms: Mapping[str, Mapping[str, Any]] | None = None, *, service: bool = False, **plain: Any
) -> tuple[Settings, ...]:
    """Read every room's settings, the plain room's first, from keywords and the environment.

    A `service` has no site, and so its rooms have no paths, whatever is said of them. Raises SettingsError,
    one line for each thing that is wrong.
    """
    first = load(**plain)
    own = further_rooms()
    for name, settings in _checked(rooms).items():
        own[name] = {**own.get(name, {}), **settings}
    together = [first, *_further(first, plain, own, service)]
    if service:
        together = [settings.model_copy(update={"paths": ()}) for settings in together]
    check_together(together, service=service)
    return tuple(together)


def check_together(rooms: Sequence[Settings], *, service: bool = False) -> None:
    """Raise SettingsError where rooms can't be in one process: no room, or two in one another's way."""
    if not rooms:
        raise SettingsError("settings=[] names no room: give at least one")
    for at, settings in enumerate(rooms):
        if settings.challenges and find_spec("altcha") is None:
            raise SettingsError(
                f"the room {settings.room!r} has challenges, which need altcha: "
                f'pip install "waitroom[challenge]", or set {PREFIX}CHALLENGE=off'
            )
        if not settings.paths and len(rooms) > 1 and not service:
            raise SettingsError(f"the room {settings.room!r} has no paths: name those that it protects")
        for other in rooms[at + 1 :]:
            _check_two(settings, other)


def _check_two(one: Settings, other: Settings) -> None:
    if one.room == other.room:
        raise SettingsError(f"two rooms are named {one.room!r}: give each a name of its own")
    both = f"the rooms {one.room!r} and {other.room!r}"
    if one.prefix != other.prefix:
        raise SettingsError(
            f"{both} have the prefixes {one.prefix} and {other.prefix}: {NOT_THEIRS['prefix']}"
        )
    if shared := same_paths(one.paths, other.paths):
        raise SettingsError(
            f"{both} both protect {shared!r}: a path belongs to one room, so take it out of one of them"
        )
    cookie = f"{one.cookie_name}-{one.room}"
    if cookie == f"{other.cookie_name}-{other.room}":
        raise SettingsError(f"{both} both have the cookie {cookie!r}: give one of them another COOKIE_NAME")


def _checked(rooms: Mapping[str, Mapping[str, Any]] | None) -> Mapping[str, Mapping[str, Any]]:
    is_mapping = isinstance(rooms or {}, Mapping)
    if not is_mapping or not all(isinstance(settings, Mapping) for settings in (rooms or {}).values()):
        raise SettingsError(
            'rooms= has each room\'s settings by its name, such as {"sale": {"paths": "/sale/*"}}'
        )
    return rooms or {}


def _further(
    first: Settings, plain: Mapping[str, Any], own: Mapping[str, Mapping[str, Any]], service: bool
) -> list[Settings]:
    further, wrong = [], []
    for name, settings in own.items():
        try:
            further.append(_one(first, plain, name, settings, service))
        except SettingsError as error:
            wrong += [str(error), *error.others]
    if wrong:
        raise SettingsError(*wrong)
    return further


def _one(
    first: Settings, plain: Mapping[str, Any], name: str, own: Mapping[str, Any], service: bool
) -> Settings:
    prefix = prefix_of(name)
    for setting, why in NOT_THEIRS.items():
        if setting in own:
            raise SettingsError(f"{prefix}{setting.upper()} can't be set: {why}")
    settings = load_further(plain, name, own, first)
    if "paths" not in own and not service:
        raise SettingsError(
            f"{prefix}PATHS is not set: a further room needs paths of its own, such as /{name}/*; "
            f"{PREFIX}PATHS are those of the room {first.room!r}"
        )
    return settings
