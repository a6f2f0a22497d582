"""What a visitor meets at the gate of any site of `tests/frameworks`, on any server."""

import asyncio
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.gates import API, DEADLINE_SECONDS, Server, comes_back_after, page_data
from tests.waiting import until


def visitor(server: Server, **keywords: Any) -> httpx.Client:
    """A client that keeps cookies."""
    return httpx.Client(base_url=server.url, verify=server.verify, timeout=DEADLINE_SECONDS, **keywords)


def comes_in(client: httpx.Client, goods: int | None, path: str = "") -> None:
    """Come in at the first knock; the site below `path` knows who is there, and reads what is sent."""
    # On a busy machine the store may seem away for a moment.
    until(lambda: client.get(f"{path}/").status_code == 200)
    for response, body in (
        (client.get(f"{path}/"), ""),
        (client.post(f"{path}/a/b", content="hello"), "hello"),
    ):
        assert response.status_code == 200, response.text
        assert response.json() == {"site": "inside", "body": body, "goods": goods, "number": 1}


def waits(client: httpx.Client, path: str = "", base: str = "", told: str | None = None) -> None:
    """Find a line: the page, the number, JSON for programs; nothing that is sent gets through.

    The site is below `path`, the gate's routes below `base`, or, as seen by a browser, `told`.
    """
    until(lambda: page_data(client.get(f"{path}/"))["number"] == 2)
    page = client.get(f"{path}/")
    assert page.status_code == 503
    assert comes_back_after(page)
    assert page_data(page)["base"] == (base if told is None else told) + API
    assert client.get(f"{base}{API}/window").json()["waiting"] == 1
    standing = client.get(f"{base}{API}/status").json()
    assert (standing["status"], standing["number"]) == ("waiting", 2)
    sent = client.post(f"{path}/a/b", content="hello", headers={"Accept": "application/json"})
    assert (sent.status_code, sent.json()["type"]) == (503, "urn:waitroom:waiting")


def says(server: Server, path: str, client: httpx.Client | None = None) -> str:
    """Open a WebSocket with the visitor's cookies, or with none, say hello, and hear the answer."""

    async def talk() -> str:
        async with connect(
            socket_url(server, path), ssl=server.trust, additional_headers=cookies(client)
        ) as line:
            await line.send("hello")
            return str(await asyncio.wait_for(line.recv(), DEADLINE_SECONDS))

    if server.trust:
        server.trust.set_alpn_protocols(["http/1.1"])  # httpx has told it to ask for HTTP/2
    return asyncio.run(talk())


def socket_url(server: Server, path: str) -> str:
    return server.url.replace("http", "ws", 1) + path


def cookies(client: httpx.Client | None) -> dict[str, str]:
    """The header with which a client's cookies are sent."""
    pairs = [f"{name}={value}" for name, value in client.cookies.items()] if client else []
    return {"Cookie": "; ".join(pairs)} if pairs else {}


def talks(server: Server, path: str, client: httpx.Client) -> None:
    assert says(server, path, client) == "heard hello of 1"


def is_denied(server: Server, path: str, status: int = 503) -> None:
    with pytest.raises(InvalidStatus) as denied:
        says(server, path)
    assert denied.value.response.status_code == status


def ended_well(server: Server) -> None:
    """Whether nothing went wrong that only the log tells."""
    for sign in ("Traceback", "never retrieved", "was destroyed", "never awaited", "Unclosed"):
        assert sign not in server.said, server.said
