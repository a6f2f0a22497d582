"""A site that finds its protected pages by every spelling that anything in use would, and tells when it was reached.

Three readers look at each request: `lenient.forms` on the path, decoded and as it came, Starlette's router, and
Starlette's file server on a real folder. A page of a room whose pass the request does not have is written down in the
file `reached` in the folder that `FUZZ_FOLDER` names.
"""

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, Router
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.fuzzing.lenient import TOGETHER, areas, forms, half_decoded
from waitroom.web.middleware import WaitingRoomMiddleware

LONGEST = 600
"""Letters of a path whose readings are all looked at."""


def _route(area: str) -> Any:
    async def page(_: Any) -> PlainTextResponse:
        return PlainTextResponse("inside", headers={"reached": area})

    return page


ROUTER = Router(
    [
        Route("/shop/vip/terms", _route("")),
        Route("/shop/vip", _route("vip")),
        Route("/shop/vip/{rest:path}", _route("vip")),
        Mount("/shop/img", routes=[Route("/{rest:path}", _route(""))]),
        Route("/shop", _route("shop")),
        Route("/shop/7", _route("shop")),
        Route("/shop/cart/pay", _route("shop")),
        Route("/shop/cart/{item:int}", _route("shop")),
        Mount("/sale", routes=[Route("/7", _route("sale")), Route("/", _route("sale"))]),
        Route("/caf\u00e9", _route("sale")),
    ]
)


def _files(folder: Path) -> StaticFiles:
    """Lay out one file for each page; each says whose it is."""
    for name, area in (
        ("shop/7", "shop"),
        ("shop/cart/pay", "shop"),
        ("shop/vip/7", "vip"),
        ("sale/7", "sale"),
    ):
        Path(folder, name).parent.mkdir(parents=True, exist_ok=True)
        Path(folder, name).write_text(area)
    for name in ("pub", "x", "shop/img", "sale/img"):
        Path(folder, name).mkdir(parents=True, exist_ok=True)
    return StaticFiles(directory=folder)


class OpenSite:
    """The readers, one after the other."""

    def __init__(self, folder: Path, reached: Path) -> None:
        self._readers: list[ASGIApp] = [ROUTER, _files(folder)]
        self._reached = reached

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer which rooms' pages the request has come to, in the header `reached`."""
        assert scope["type"] == "http"
        given = dict(scope["headers"])
        passes = set(given.get(b"x-passes", b"").decode().split())
        raw = scope.get("raw_path") or b""
        read = [scope["path"][:LONGEST], half_decoded(raw)[:LONGEST]]
        # With a pass for one room it matters whose page it is; with none it does not.
        found = areas(forms(*read, steps=TOGETHER)) if passes else areas(forms(*read))
        for reader in self._readers:
            found |= await _found_by(reader, scope)
        # A preflight carries none, and gets nothing of the page to see.
        asks = scope["method"] == "OPTIONS" and {b"origin", b"access-control-request-method"} <= given.keys()
        if found - passes and not asks:
            line = f"{given.get(b'x-number', b'').decode()} without a pass for {sorted(found - passes)}: {raw!r}\n"
            with self._reached.open("a") as file:
                file.write(line)
        answer = PlainTextResponse("inside", headers={"reached": " ".join(sorted(found))})
        await answer(scope, receive, send)


async def _found_by(reader: ASGIApp, scope: Scope) -> set[str]:
    """Whose page a reader of the framework answers with; nobody's where it finds none."""
    told: list[str] = []
    is_file = False

    async def send(message: Any) -> None:
        nonlocal is_file
        if message["type"] == "http.response.start" and message["status"] == 200:
            said = [value.decode() for name, value in message["headers"] if name == b"reached"]
            is_file = not said
            told.extend(said)
        elif is_file:
            told.append(message.get("body", b"").decode())

    async def receive() -> Any:
        await asyncio.Event().wait()  # the visitor stays, and says no more

    with suppress(HTTPException):  # it finds nothing
        await reader({**scope, "state": {}}, receive, send)
    return {area for area in told if area}


def site() -> ASGIApp:
    """For the servers' factories: behind the gate, whose settings are in the environment."""
    folder = Path(os.environ["FUZZ_FOLDER"])
    return WaitingRoomMiddleware(OpenSite(folder / f"files-{os.getpid()}", folder / "reached"))
