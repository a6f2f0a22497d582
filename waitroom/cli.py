"""The command line.

Exit status: 0 all is well; 1 an unforeseen error; 2 a wrong setting, flag or target; 3 the store cannot be
reached or used, or the server could not start.
"""

import asyncio
import json
import secrets
import sys
import time
from collections.abc import Callable
from inspect import signature
from typing import Any, TypeVar

import click
import uvicorn
from uvicorn.importer import ImportFromStringError, import_from_string

from waitroom import __version__
from waitroom.demo import run_demo
from waitroom.embedded import share
from waitroom.errors import SettingsError, WaitroomError
from waitroom.settings import Settings, hand_down, load
from waitroom.status import read_status, store_url, table
from waitroom.store import Store

WRONG_SETTING = 2
NO_STORE = 3

Command = TypeVar("Command", bound=Callable[..., Any])


def setting_flags(*names: str) -> Callable[[Command], Command]:
    """Give a command a flag for each setting, or for those named."""

    def add(command: Command) -> Command:
        for name in reversed(names or tuple(Settings.model_fields)):
            field = Settings.model_fields[name]
            flag = f"--{name.replace('_', '-')}"
            command = click.option(flag, name, metavar="…", help=field.description)(command)
        return command

    return add


def server_flags(command: Command) -> Command:
    """Give a command uvicorn's flags that a small deployment needs, with uvicorn's names and defaults."""
    options = (
        click.option("--host", default="127.0.0.1", show_default=True, help="address to listen on"),
        click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535)),
        click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 1024)),
        click.option("--root-path", default="", help="path that a proxy in front has taken off"),
        click.option("--forwarded-allow-ips", default=None, help="proxies whose headers are believed"),
        click.option("--log-level", default="info", show_default=True),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _fail(error: Exception, status: int) -> None:
    click.echo(f"waitroom: {error}", err=True)
    sys.exit(status)


def _settings(flags: dict[str, Any]) -> Settings:
    try:
        return load(**{name: value for name, value in flags.items() if value is not None})
    except SettingsError as error:
        _fail(error, WRONG_SETTING)
        raise AssertionError from error  # pragma: no cover  # _fail has ended the process


@click.group(help="A waiting room for any ASGI site.", epilog=__doc__)
@click.version_option(__version__, prog_name="waitroom")
def main() -> None:
    """Gather the commands."""


@main.command(help="Serve TARGET, an ASGI app such as shop:app, behind the gate.")
@click.argument("target")
@click.option("--factory", is_flag=True, help="TARGET is a function without arguments that makes the app")
@server_flags
@setting_flags()
def run(target: str, factory: bool, **flags: Any) -> None:
    """Wrap any ASGI app without a change to its code."""
    _check_target(target, factory)
    _serve(f"waitroom.serving:{'made' if factory else 'gated'}_site", target, flags)


def _check_target(target: str, factory: bool) -> None:
    sys.path.insert(0, ".")
    try:
        found = import_from_string(target)
    except (ImportFromStringError, SettingsError) as error:
        _fail(error, WRONG_SETTING)
    try:
        signature(found).bind(*(() if factory else ("scope", "receive", "send")))
    except TypeError:
        wrong = f"{target} is not an ASGI app; if it makes one, add --factory"
        if factory:
            wrong = f"{target} can't be called without arguments; if it is an ASGI app, leave out --factory"
        _fail(WaitroomError(wrong), WRONG_SETTING)


@main.command(help="Serve the gate's routes as a service of its own, with no site behind.")
@server_flags
@setting_flags()
def serve(**flags: Any) -> None:
    """Serve joins, status and window for sites that ask over HTTP."""
    _serve("waitroom.serving:service", "", flags)


def _serve(factory: str, target: str, flags: dict[str, Any]) -> None:
    ours = {name: flags.pop(name) for name in Settings.model_fields}
    settings = _settings(ours)
    hand_down({name: value for name, value in ours.items() if value is not None}, target)
    try:
        _first_contact(settings)
    except WaitroomError as error:
        _fail(error, NO_STORE)
    uvicorn.run(factory, factory=True, **flags)


def _first_contact(settings: Settings) -> None:
    """Reach the store before any worker starts, so that what is wrong with it is told once, in one line."""
    if settings.redis_url.startswith("embedded://"):
        share()  # for as long as this process lives, and its workers after it
        return

    async def contact() -> None:
        store = Store(settings.redis_url, settings)
        try:
            await store.look()
        finally:
            await store.close()

    asyncio.run(contact())


@main.command(help="Start a small shop behind the gate with a crowd at its door.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535))
@click.option("--seed", default=1, show_default=True, help="what the crowd's chances are drawn from")
def demo(host: str, port: int, seed: int) -> None:
    """Show what a visitor meets."""
    try:
        run_demo(host, port, seed)
    except WaitroomError as error:
        _fail(error, NO_STORE)


@main.command(help="Show the room as it is now.")
@click.option("--json", "as_json", is_flag=True, help="for programs")
@click.option("--watch", is_flag=True, help="again every second, until Ctrl-C")
@setting_flags("redis_url", "room")
def status(as_json: bool, watch: bool, **flags: Any) -> None:
    """Look at a room without touching it."""
    # Looking needs no signing key, but real stores ask for one in the settings.
    settings = _settings({"secret": "-" * 32, **flags})
    try:
        url = store_url(settings)
        while True:
            fields = asyncio.run(read_status(settings, url))
            if watch and not as_json:
                click.clear()
            click.echo(json.dumps(fields) if as_json else table(fields))
            if not watch:
                return
            time.sleep(1)
    except WaitroomError as error:
        _fail(error, NO_STORE)
    except KeyboardInterrupt:
        return


@main.command(help="Print a new signing key for WAITROOM_SECRET.")
def keygen() -> None:
    """Make a key of 256 random bits."""
    click.echo(secrets.token_urlsafe(32))
