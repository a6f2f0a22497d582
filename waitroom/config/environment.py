"""What the environment says besides the plain settings; with `settings` the only reader of os.environ."""

import json
import os
from typing import Any

from waitroom.errors import SettingsError

PREFIX = "WAITROOM_"
ROOMS = f"{PREFIX}ROOMS__"
"""In front of `<NAME>__<SETTING>`: one setting of one further room."""
HANDED_DOWN = "_WAITROOM_HANDED_DOWN"
"""Not a setting: how the command line tells its workers what it was given."""
NEEDED = frozenset(
    (
        *("LD_LIBRARY_PATH", "LD_PRELOAD", "NIX_LD", "NIX_LD_LIBRARY_PATH", "GLIBC_TUNABLES"),
        *("DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH", "DYLD_FRAMEWORK_PATH", "DYLD_INSERT_LIBRARIES"),
        *("LANG", "LC_ALL", "LC_CTYPE", "__PYVENV_LAUNCHER__"),
    )
)
"""Without these a program may not start: where its libraries are, and how names of files are written. By their whole
names, as `LD_SDK_KEY` is somebody's secret."""


def our_variables() -> list[str]:
    """The names of all variables that begin with `WAITROOM_`, as they are, in whatever case."""
    return [name for name in os.environ if name.upper().startswith(PREFIX)]


def prefix_of(room: str) -> str:
    """What the variables of a further room begin with."""
    return f"{ROOMS}{room.upper()}__"


def further_rooms() -> dict[str, dict[str, Any]]:
    """The settings of further rooms by the rooms' names; empty variables count as not set.

    Raises SettingsError for a variable that names no setting of a room, or one that another has named.
    """
    rooms: dict[str, dict[str, Any]] = {}
    for variable, value in os.environ.items():
        if not variable.upper().startswith(ROOMS) or not value:
            continue
        name, setting = room_and_setting(variable[len(ROOMS) :], variable, f"{ROOMS}SALE__PATHS")
        if setting in rooms.setdefault(name, {}):
            raise SettingsError(
                f"{variable} is given twice, in capitals and otherwise: leave one of them out"
            )
        rooms[name][setting] = value
    return rooms


def room_and_setting(text: str, told: str, example: str) -> tuple[str, str]:
    """Take `<NAME>__<SETTING>` apart, into lower case; raises SettingsError that calls it as `told` does."""
    name, _, setting = text.lower().rpartition("__")
    if not name or not setting:
        raise SettingsError(f"{told} names no room and setting: write it as {example}")
    return name, setting


def hand_down(target: str, flags: dict[str, Any]) -> None:
    """Leave the site and the flags to the workers, which start from this environment."""
    os.environ[HANDED_DOWN] = json.dumps([target, flags])


def handed_down() -> tuple[str, dict[str, Any]]:
    """What the command line was given: an import string, or for the proxy its address and timeout; and the flags.

    Once in each process: it may hold secrets, and the programs that the site starts have no use for them.
    """
    target, flags = json.loads(os.environ.pop(HANDED_DOWN))
    return target, flags


def named_proxies() -> str | None:
    """The proxies whose headers uvicorn believes, where its variable names them."""
    return os.environ.get("FORWARDED_ALLOW_IPS")


def server_software() -> str | None:
    """What gunicorn tells its workers about itself, which is how they know that they are siblings."""
    return os.environ.get("SERVER_SOFTWARE")


def runtime_folder() -> str | None:
    """The folder that the system's session gives its user alone, where there is one."""
    return os.environ.get("XDG_RUNTIME_DIR")


def bare() -> dict[str, str]:
    """The environment for a process of ours that needs none: no settings, and none of the site's secrets."""
    return {name: value for name, value in os.environ.items() if name in NEEDED}
