"""The command line.

Exit status: 0 all is well; 1 an unforeseen error, or with `check --strict` a warning; 2 a wrong setting, flag,
target or URL; 3 the store cannot be reached or used, or the server could not start.
"""

import asyncio
import json
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from inspect import signature
from typing import Any, NoReturn, TypeVar

import click
import uvicorn
from uvicorn.importer import ImportFromStringError, import_from_string

from waitroom import __version__
from waitroom.check.report import as_document, as_text, refused
from waitroom.check.report import check as check_all
from waitroom.cli.demo import run_demo
from waitroom.cli.process_list import warn_of_secrets
from waitroom.cli.status import find_rooms, read_rooms, table
from waitroom.config.environment import hand_down, named_proxies, room_and_setting
from waitroom.config.rooms import load_rooms
from waitroom.config.settings import Settings
from waitroom.errors import SettingsError, WaitroomError
from waitroom.proxy.forwarding import check_upstream
from waitroom.store.embedded.server import share
from waitroom.store.transitions import Store

WARNED = 1
WRONG_SETTING = 2
NO_STORE = 3

Command = TypeVar("Command", bound=Callable[..., Any])


ROOMS_EXAMPLE = "--rooms sale__paths=/sale/*"
ROOMS_FLAG = click.option(
    "--rooms",
    multiple=True,
    metavar="NAME__SETTING=…",
    help="one setting of a further room, such as sale__paths=/sale/*; may be given many times",
)


def setting_flags(*names: str) -> Callable[[Command], Command]:
    """Give a command a flag for each setting, or for those named."""

    def add(command: Command) -> Command:
        for name in reversed(names or tuple(Settings.model_fields)):
            field = Settings.model_fields[name]
            flag = f"--{name.replace('_', '-')}"
            command = click.option(flag, name, metavar="…", help=field.description)(command)
        return command if names else ROOMS_FLAG(command)

    return add


def _server_flag(flag: str, **how: Any) -> Callable[[Command], Command]:
    """Make one of uvicorn's flags, with the environment variable that uvicorn has for it."""
    return click.option(flag, envvar=f"UVICORN_{flag[2:].replace('-', '_').upper()}", **how)


def server_flags(command: Command) -> Command:
    """Give a command uvicorn's flags that a small deployment needs, with uvicorn's names and defaults."""
    options = (
        _server_flag("--host", default="127.0.0.1", show_default=True, help="address to listen on"),
        _server_flag("--port", default=8000, show_default=True, type=click.IntRange(0, 65535)),
        _server_flag("--workers", default=1, show_default=True, type=click.IntRange(1, 1024)),
        _server_flag("--root-path", default="", help="path that a proxy in front has taken off"),
        _server_flag("--forwarded-allow-ips", default=None, help="proxies whose headers are believed"),
        _server_flag("--log-level", default="info", show_default=True),
        _server_flag(
            "--loop",
            default="auto",
            show_default=True,
            type=click.Choice(("auto", "asyncio", "uvloop")),
            help="the event loop; auto is uvloop where that is installed",
        ),
        _server_flag(
            "--backlog",
            default=2048,
            show_default=True,
            type=click.IntRange(1, 2**31 - 1),
            help="connections that may wait to be accepted",
        ),
        _server_flag(
            "--timeout-graceful-shutdown",
            default=None,
            type=click.IntRange(min=0),
            help="seconds that open requests get to finish when the server stops; by default there is no end",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _fail(error: Exception, status: int) -> NoReturn:
    click.echo(f"waitroom: {error}", err=True)
    sys.exit(status)


def _rooms(flags: dict[str, Any], service: bool = False) -> tuple[Settings, ...]:
    """Read all rooms' settings from flags and environment, or end with one line."""
    try:
        return load_rooms(**_given(flags), service=service)
    except SettingsError as error:
        _fail(error, WRONG_SETTING)


def _given(flags: dict[str, Any]) -> dict[str, Any]:
    """The settings among the flags that were given, as keywords; raises SettingsError."""
    given = {name: value for name, value in flags.items() if value is not None}
    rooms: dict[str, dict[str, str]] = {}
    for flag in given.pop("rooms", ()):
        variable, found, value = flag.partition("=")
        name, setting = room_and_setting(variable if found else "", f"--rooms {variable}", ROOMS_EXAMPLE)
        rooms.setdefault(name, {})[setting] = value
    return {**given, "rooms": rooms}


@click.group(help="A waiting room for any ASGI site.", epilog=__doc__.partition("\n\n")[2])
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
    _serve(f"waitroom.cli.serving:{'made' if factory else 'gated'}_site", target, flags)


def _check_target(target: str, factory: bool) -> None:
    sys.path.insert(0, ".")
    try:
        found = import_from_string(target)
    except (ImportFromStringError, SettingsError) as error:
        _fail(error, WRONG_SETTING)
    try:
        signature(found).bind(*(() if factory else ("scope", "receive", "send")))
    except ValueError:
        pass  # compiled code may not tell what it takes
    except TypeError:
        wrong = f"{target} is not an ASGI app; if it makes one, add --factory"
        if factory:
            wrong = f"{target} can't be called without arguments; if it is an ASGI app, leave out --factory"
        _fail(WaitroomError(wrong), WRONG_SETTING)


@main.command(help="Serve the site at UPSTREAM, such as http://127.0.0.1:8080, behind the gate.")
@click.argument("upstream")
@server_flags
@click.option(
    "--upstream-timeout",
    default=300.0,
    show_default=True,
    type=click.FloatRange(0.1, 86_400),
    help="seconds in which the site has to begin its answer",
)
@setting_flags()
def proxy(upstream: str, upstream_timeout: float, **flags: Any) -> None:
    """Gate a site of any language over HTTP. One that is down is no reason not to start: they start together."""
    try:
        base = check_upstream(upstream)
    except SettingsError as error:
        _fail(error, WRONG_SETTING)
    if find_spec("aiohttp") is None or find_spec("websockets") is None:
        _fail(
            WaitroomError('the proxy needs aiohttp and websockets: pip install "waitroom[proxy]"'), NO_STORE
        )
    # The site names itself in its answers, if it wishes to.
    _serve("waitroom.cli.serving:gated_proxy", f"{base} {upstream_timeout}", flags, server_header=False)


@main.command(help="Serve the gate's routes as a service of its own, with no site behind.")
@server_flags
@setting_flags()
def serve(**flags: Any) -> None:
    """Serve joins, status and window for sites that ask over HTTP."""
    _serve("waitroom.cli.serving:service", "", flags, service=True)


def _serve(factory: str, target: str, flags: dict[str, Any], service: bool = False, **more: Any) -> None:
    ours = {name: flags.pop(name) for name in (*Settings.model_fields, "rooms")}
    warn_of_secrets(ours)
    if flags["loop"] == "uvloop" and find_spec("uvloop") is None:
        _fail(
            WaitroomError("--loop uvloop needs uvloop: pip install uvloop; or leave --loop out"),
            WRONG_SETTING,
        )
    rooms = _rooms(ours, service)
    hand_down(target, _given(ours))
    try:
        _first_contact(rooms)
    except WaitroomError as error:
        _fail(error, NO_STORE)
    uvicorn.run(factory, factory=True, **flags, **more)


def _first_contact(rooms: Sequence[Settings]) -> None:
    """Reach the stores before any worker starts, so that what is wrong with one is told once, in one line."""
    for settings in {settings.redis_url: settings for settings in rooms}.values():
        if settings.redis_url.startswith("embedded://"):
            share()  # for as long as this process lives, and its workers after it
        else:
            asyncio.run(_contact(settings))


async def _contact(settings: Settings) -> None:
    store = Store(settings.redis_url, settings)
    try:
        await store.look()
    finally:
        await store.close()


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


@main.command(help="Show the rooms as they are now: those of the settings and all others in the store.")
@click.option("--json", "as_json", is_flag=True, help="for programs: one object a line, one line a room")
@click.option("--watch", is_flag=True, help="again every second, until Ctrl-C")
@setting_flags("redis_url", "room")
def status(as_json: bool, watch: bool, **flags: Any) -> None:
    """Look at rooms without touching them; with `--room`, at that one alone."""
    warn_of_secrets(flags)
    only = flags.pop("room")
    # Looking needs no signing key, but real stores ask for one in the settings; nor does it need paths.
    rooms = _rooms({"secret": secrets.token_urlsafe(32), **flags}, service=True)
    try:
        looked_at = find_rooms(rooms, only)
        if watch:
            _watch(looked_at, as_json)
        told = asyncio.run(read_rooms(looked_at))
        click.echo(_shown(told, as_json))
    except WaitroomError as error:
        _fail(error, NO_STORE)
    except KeyboardInterrupt:
        return
    if any("error" in fields for fields in told):
        sys.exit(NO_STORE)


def _watch(rooms: Sequence[tuple[Settings, str]], as_json: bool) -> NoReturn:
    """Look again every second; a store that is away may come back."""
    while True:
        try:
            shown = _shown(asyncio.run(read_rooms(rooms)), as_json)
        except WaitroomError as error:
            shown = _shown([{"room": settings.room, "error": str(error)} for settings, _ in rooms], as_json)
        if not as_json:
            click.clear()
        click.echo(shown)
        time.sleep(1)


def _shown(told: Sequence[dict[str, Any]], as_json: bool) -> str:
    return "\n".join(map(json.dumps, told)) if as_json else "\n\n".join(map(table, told))


@main.command(
    help="Tell what is wrong with the settings and the store, and which of the URLs are gated, by which rule."
)
@click.argument("urls", nargs=-1, metavar="[URL]...")
@click.option("--json", "as_json", is_flag=True, help="for programs: one document")
@click.option("--strict", is_flag=True, help=f"exit status {WARNED} where there are warnings")
@click.option("--service", is_flag=True, help="as `waitroom serve` runs it: rooms need no paths")
@click.option("--root-path", default="", help="path that a proxy in front has taken off, and the URLs have")
@click.option("--forwarded-allow-ips", default=None, help="proxies whose headers the server will believe")
@setting_flags()
def check(
    urls: tuple[str, ...],
    as_json: bool,
    strict: bool,
    service: bool,
    root_path: str,
    forwarded_allow_ips: str | None,
    **flags: Any,
) -> None:
    """Find out before visitors do."""
    warn_of_secrets(flags)
    try:
        rooms = load_rooms(**_given(flags), service=service)
    except SettingsError as error:
        report = refused(error)
    else:
        report = check_all(rooms, urls, root_path, forwarded_allow_ips or named_proxies())
    click.echo(json.dumps(as_document(report)) if as_json else as_text(report))
    if report.is_store_unusable:
        sys.exit(NO_STORE)
    if not report.ok:
        sys.exit(WRONG_SETTING)
    if strict and report.has_warnings:
        sys.exit(WARNED)


@main.command(help="Print a new signing key for WAITROOM_SECRET.")
def keygen() -> None:
    """Make a key of 256 random bits."""
    click.echo(secrets.token_urlsafe(32))
