"""`waitroom demo`: a small shop behind the gate, and a crowd that wants into it."""

import json
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from types import FrameType

import click
import uvicorn

from waitroom.config.settings import load
from waitroom.errors import WaitroomError
from waitroom.web.middleware import WaitingRoomMiddleware

PACKAGES = ("waitroom.demo_app", "demo_app")
"""Where the shop may be: inside the wheel, or beside the package in a checkout."""

GATE = {
    "window_size": 3,
    "window_interval": 6,
    "active_window_count": 5,
    "capacity": 40,
    "session_seconds": 120,
    "claim_seconds": 6,
    "first_lease_seconds": 30,
}
"""Small enough that a visitor sees a line, and gets in within a minute or two."""

CROWDED = 12
"""Who stands at the door before anyone is invited to look."""
TRIES, TRY_SECONDS = 50, 0.2


def run_demo(host: str, port: int, seed: int) -> None:
    """Serve the shop until Ctrl-C; leaves no process, socket or file behind."""
    package = _package()
    if find_spec("httpx") is None:
        raise WaitroomError('the crowd needs httpx: pip install "waitroom[embedded,demo]"')
    shop = import_module(f"{package}.shop").app
    settings = load(redis_url="embedded://", room="demo", **GATE)
    gate = WaitingRoomMiddleware(shop, settings=settings)
    url = f"http://{host}:{port}"
    threading.Thread(target=_tell_when_a_line_stands, args=(url, settings.prefix), daemon=True).start()
    signal.signal(signal.SIGTERM, _end)
    # In a session of its own, so that Ctrl-C reaches the server alone, which then ends the crowd.
    crowd = subprocess.Popen(  # noqa: S603  # our own module
        [sys.executable, "-m", f"{package}.crowd", "--url", url, "--seed", str(seed)], start_new_session=True
    )
    try:
        with suppress(KeyboardInterrupt):
            uvicorn.run(gate, host=host, port=port, log_level="warning")
    finally:
        crowd.terminate()
        crowd.wait()


def _package() -> str:
    for package in PACKAGES:
        with suppress(ModuleNotFoundError):
            if find_spec(package) is not None:
                return package
    raise WaitroomError("the demo's shop is not among the installed files")


def _end(signum: int, _: FrameType | None) -> None:
    sys.exit(128 + signum)


def _tell_when_a_line_stands(url: str, prefix: str) -> None:
    """Invite nobody before there is something to see."""
    for _ in range(TRIES):
        with suppress(OSError), urllib.request.urlopen(f"{url}{prefix}/window", timeout=1) as answer:  # noqa: S310
            if json.load(answer)["waiting"] >= CROWDED:
                break
        time.sleep(TRY_SECONDS)
    click.echo(f"The shop          {url}/")
    click.echo(f"Who is inside     {url}/inside")
    click.echo(f"The line, as JSON {url}{prefix}/window")
    click.echo("Open the shop and you are in line with the crowd. Ctrl-C ends it all.")
