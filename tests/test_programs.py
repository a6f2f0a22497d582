"""What programs are told while the room is full: something that each of them can read, and nothing to append."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import SECRET
from tests.gates import Server, client_of, take_place, uvicorn
from tests.stores import missing
from tests.test_middleware import full_house
from waitroom.config.settings import Settings

Make = Callable[..., Settings]

pytestmark = pytest.mark.usefixtures("patience")

PROBLEM = "application/problem+json"
UNSENT = "Your request was not passed on"


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", {"Accept": "application/rss+xml"}),
        ("GET", {"Accept": "application/x-ndjson"}),
        ("GET", {"Accept": "application/xml, text/xml;q=0.9, */*;q=0.1"}),
        ("GET", {"Accept": "text/plain;q=0"}),
        ("GET", {"Accept": "text/plain, application/json"}),
        ("GET", {"Accept": "*/*", "Content-Type": "application/json"}),
        ("POST", {"Accept": "*/*", "Content-Type": "application/json"}),
        ("POST", {"Accept": "*/*", "Content-Type": "application/x-www-form-urlencoded"}),
        ("POST", {"Accept": "text/event-stream, application/json"}),
        ("POST", {"Accept": "text/event-stream"}),
        ("GET", {"Accept": "text/event-stream", "Range": "bytes=7-"}),
    ],
)
async def test_a_program_gets_problem_json(settings: Make, method: str, headers: dict[str, str]) -> None:
    async with full_house(settings(capacity=1), line=1) as (gate, handler, _), client_of(gate) as client:
        if headers["Accept"] == "text/plain;q=0":
            headers = {**headers, "Sec-Fetch-Dest": "empty"}
        told = await client.request(method, "/feed", headers=headers)
        assert (told.status_code, told.headers["content-type"]) == (503, PROBLEM)
        assert told.json()["type"] == "urn:waitroom:waiting"
        assert (UNSENT in told.json()["title"]) == (method == "POST")
        assert int(told.headers["retry-after"]) > 0
        assert not handler.scopes


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_who_reads_plain_text_gets_some(settings: Make, method: str) -> None:
    async with full_house(settings(capacity=1), line=1) as (gate, _, _), client_of(gate) as client:
        told = await client.request(method, "/", headers={"Accept": "text/plain"})
        assert (told.status_code, told.headers["content-type"]) == (503, "text/plain; charset=utf-8")
        assert told.text.startswith("This site is full; you are in line.")
        assert (UNSENT in told.text) == (method == "POST")
        assert told.headers["content-length"] == str(len(told.content))
        assert told.cookies, "it may come back with it"


@pytest.mark.parametrize(
    ("sent", "got"),
    [
        ("application/grpc", "application/grpc"),
        ("application/grpc+proto", "application/grpc"),
        ("application/grpc-web+proto", "application/grpc-web"),
        ("application/grpc-web-text", "application/grpc-web-text"),
    ],
)
async def test_a_call_of_grpc_fails_as_unavailable(settings: Make, sent: str, got: str) -> None:
    """Its clients read neither status nor body of HTTP, and know this one as what to try again."""
    async with full_house(settings(capacity=1), line=1) as (gate, handler, _), client_of(gate) as client:
        told = await client.post("/shop.Orders/Place", headers={"Content-Type": sent, "TE": "trailers"})
        assert (told.status_code, told.headers["content-type"], told.content) == (200, got, b"")
        assert told.headers["grpc-status"] == "14"
        assert UNSENT in told.headers["grpc-message"]
        assert not handler.scopes


async def test_an_event_source_is_told_to_ask_again(settings: Make) -> None:
    events = {"Accept": "text/event-stream", "Sec-Fetch-Dest": "empty", "Sec-Fetch-Mode": "cors"}
    async with full_house(settings(capacity=1), line=1) as (gate, handler, _), client_of(gate) as client:
        told = await client.get("/events", headers=events)
        assert (told.status_code, told.headers["content-type"]) == (200, "text/event-stream")
        retry, name, data, *_ = told.text.split("\n")
        assert retry == f"retry: {int(told.headers['retry-after']) * 1000}"
        assert (name, data[:7]) == ("event: waitroom", "data: {")
        assert told.headers["cache-control"] == "no-store"
        assert not handler.scopes


async def test_a_process_that_is_too_busy_is_understood_as_well(
    settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with full_house(settings(capacity=1), line=1) as (gate, _, _), client_of(gate) as client:
        monkeypatch.setattr(gate._gates[0].room.overload, "turns_away", lambda credential: True)
        told = await client.get("/events", headers={"Accept": "text/event-stream"})
        assert told.status_code == 200
        assert told.text.startswith(f"retry: {told.headers['retry-after']}000\nevent: waitroom\n")
        told = await client.get("/", headers={"Accept": "text/plain"})
        assert told.text.startswith("Too many are asking just now")


@pytest.mark.parametrize("status_code", [200, 202, 429, 503])
@pytest.mark.parametrize("name", ["Range", "If-Range"])
async def test_who_goes_on_with_a_download_gets_nothing_to_append(
    settings: Make, status_code: int, name: str
) -> None:
    mine = settings(capacity=1, status_code=status_code)
    async with full_house(mine, line=1) as (gate, _, _), client_of(gate) as client:
        assert (await client.get("/file")).status_code == status_code
        told = await client.get("/file", headers={name: "bytes=7-" if name == "Range" else '"x"'})
        assert told.status_code == (429 if status_code == 429 else 503)


@pytest.fixture(scope="module")
def full() -> Iterator[Server]:
    with uvicorn("tests.sites:starlette_site", capacity=1, status_code=200, secret=SECRET) as server:
        take_place(server)
        yield server


@pytest.mark.parametrize("command", [["wget", "-q", "-t1", "-c", "-O"], ["curl", "-s", "-C", "-", "-o"]])
def test_a_file_that_was_begun_stays_as_it_was(full: Server, tmp_path: Path, command: list[str]) -> None:
    if shutil.which(command[0]) is None:
        missing(command[0])
    file = Path(tmp_path, "file")
    file.write_bytes(b"begun: ")
    assert httpx.get(f"{full.url}/file").status_code == 200
    done = subprocess.run([*command, str(file), f"{full.url}/file"], check=False, timeout=30)
    assert done.returncode != 0
    assert file.read_bytes() == b"begun: "
