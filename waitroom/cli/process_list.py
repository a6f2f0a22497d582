"""What the command line was given that every user of the machine can read in the list of its processes."""

from collections.abc import Iterable
from typing import Any

import click

from waitroom.config.environment import PREFIX, ROOMS
from waitroom.config.store_url import has_password


def warn_of_secrets(flags: dict[str, Any]) -> None:
    """Say in one line which of the settings' flags show a secret, and what to use instead; never what it is."""
    given = [
        (f"--{name.replace('_', '-')}", f"{PREFIX}{name.upper()}", name, value)
        for name, value in flags.items()
    ]
    for flag in flags.get("rooms") or ():
        name, _, value = flag.partition("=")
        given.append((f"--rooms {name}", f"{ROOMS}{name.upper()}", name.lower().rpartition("__")[2], value))
    shown = [(flag, variable) for flag, variable, name, value in given if _is_secret(name, value)]
    if shown:
        click.echo(
            f"waitroom: {_listed(flag for flag, _ in shown)} on the command line can be read by every user of this"
            f" machine, in the list of processes: use {_listed(variable for _, variable in shown)} in the environment"
            " instead, such as from a file that your service manager reads",
            err=True,
        )


def _is_secret(name: str, value: Any) -> bool:
    if not isinstance(value, str):
        return False
    return name == "secret" or (name == "redis_url" and has_password(value))


def _listed(words: Iterable[str]) -> str:
    return " and ".join(words)
