"""The waiting page: what it says, and in a real Chromium what it does."""

import asyncio
import gzip
import json
import re
import threading
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, get_args

import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from playwright.async_api import Browser, Page, expect

from tests.windows import window as a_window
from waitroom.errors import SettingsError, WaitroomError
from waitroom.line import window
from waitroom.line.window import LARGEST_NUMBER, Eta, Place, Tempo
from waitroom.page import pages
from waitroom.page.pages import MOST_SHAPES, SHIPPED, Pages
from waitroom.page.scenes import Facts, Kind, Scene, texts

TEMPO = Tempo(seconds_per_call=0.2, longest_poll=3)
NOON = round(datetime(2026, 5, 2, 12, 0, 5, tzinfo=UTC).timestamp() * 1000)
PAGES = Pages()
PAGES_SAY = json.loads((SHIPPED[-1] / "messages.en.json").read_text("utf-8"))["live"]


@cache  # a room has one
def facts(room: str, kept_seconds: float, tempo: Tempo) -> Facts:
    # The pages are of one moment, however long these tests take.
    return Facts(room, kept_seconds, tempo, 3600)


def scene(kind: Kind = "waiting", number: int | None = 141, ahead: int = 40, **changes: Any) -> Scene:
    """One visitor: number 141, 40 ahead, who came when 60 had been called."""
    eta, poll_after = changes.pop("eta", Eta(190, 330)), changes.pop("poll_after", 1)
    pace = changes.pop("pace", "steady")
    plain = Scene(
        kind=kind,
        place=Place("waiting", number, ahead, eta, poll_after, pace),
        facts=facts(
            changes.pop("room", "default"), changes.pop("kept_seconds", 300), changes.pop("tempo", TEMPO)
        ),
        epoch=None if number is None else "0",
        start=60,
        called=100,
        missed=False,
        base="/_waitroom",
        updated_at=NOON,
    )
    return plain._replace(**changes)


def html(*args: Any, **changes: Any) -> str:
    return PAGES.render(scene(*args, **changes)).decode()


def visible(page: str) -> str:
    """What the page says before any script ran, without its style and script."""
    page = re.sub(r"<(style|script)\b.*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


# -- what it says --------------------------------------------------------------------------------------


def test_waiting_shows_number_ahead_wait_progress_and_time() -> None:
    page = html()
    text = visible(page)
    assert "You are in line." in text
    assert "40 people ahead of you" in text
    assert "Your number 141" in text
    assert "About 3 to 6 minutes" in text
    assert '<time id="updated" datetime="2026-05-02T12:00:05Z">12:00:05 UTC</time>' in page
    assert "refresh this page, or close it and come back" in text
    assert "your place is kept for 5 minutes." in text
    assert re.search(r'<progress[^>]* max="81" value="40">', page)
    assert "<title>40 ahead – You are in line</title>" in page


def test_one_ahead_is_a_person_and_none_is_next() -> None:
    assert "1 person ahead of you" in visible(html(ahead=1))
    nobody = html(ahead=0)
    assert "Next nobody is ahead of you" in visible(nobody)
    assert "<title>Next – You are in line</title>" in nobody
    assert '<body class="waiting next">' in nobody
    assert '<body class="first">' in html("first", number=None, ahead=0)


def test_a_long_line_is_told_in_grouped_digits() -> None:
    page = html(number=1_239_999, ahead=1_234_567)
    assert '<strong id="figure" class="long">1,234,567</strong>' in page
    assert '<b class="long">1,239,999</b>' in page


def test_progress_stays_on_its_bar() -> None:
    assert 'max="1" value="0"' in html(number=61, start=61, called=60)
    assert 'max="81" value="81"' in html(called=LARGEST_NUMBER)


@pytest.mark.parametrize(
    ("eta", "told"),
    [
        (None, "Not known yet"),
        (Eta(0, 20), "Less than a minute"),
        (Eta(10, 60), "Less than a minute"),
        (Eta(59, 61), "Up to 2 minutes"),
        (Eta(120, 120), "About 2 minutes"),
        (Eta(190, 330), "About 3 to 6 minutes"),
        (Eta(1700, 1801), "About 25 to 35 minutes"),
        (Eta(3600, 7201), "About 1 to 3 hours"),
        (Eta(3599, 7201), "Up to 3 hours"),
        (Eta(90_000, 200_000), "About 1 to 3 days"),
    ],
)
def test_a_wait_is_told_as_an_honest_range(eta: Eta | None, told: str) -> None:
    assert f'<b id="wait">{told}</b>' in html(eta=eta)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.4, "1 second"),
        (59, "59 seconds"),
        (60, "1 minute"),
        (90, "90 seconds"),
        (319, "5 minutes"),
        (3600, "1 hour"),
        (5400, "90 minutes"),
        (7200.5, "2 hours"),
        (86_400, "1 day"),
        (300_000, "3 days"),
    ],
)
def test_how_long_a_place_is_kept_is_never_overstated(seconds: float, told: str) -> None:
    assert f"your place is kept for {told}." in visible(html(kept_seconds=seconds))


def test_door_says_next() -> None:
    text = visible(html("door", ahead=0))
    assert "Your turn has come." in text
    assert "141 is the next number in" in text
    assert "Next" not in visible(html("door", number=None, ahead=0))


def test_door_says_how_many_stand_before() -> None:
    text = visible(html("door", ahead=212))
    assert "Your turn has come." in text
    assert "212 people are before you at the door" in text
    assert "next number in" not in text


def test_first_says_what_to_do_where_the_page_keeps_coming_back() -> None:
    page = html("first", number=None, ahead=0)
    noscript = re.search(r"<noscript>(.*?)</noscript>", page)
    assert noscript
    assert "If this page keeps coming back, your browser is not sending cookies back." in noscript[1]
    assert "Your number" not in visible(page)


def test_away_keeps_a_place_only_for_those_who_have_one() -> None:
    numbered, unnumbered = visible(html("away")), visible(html("away", number=None, ahead=0))
    assert "Your place is kept." in numbered
    assert "As of 12:00:05 UTC" in numbered
    assert "40 people ahead of you" in numbered
    assert "place" not in unnumbered
    assert "As of 12:00:05 UTC" in unnumbered


def test_unsent_says_that_nothing_was_sent_and_links_back() -> None:
    page = html("unsent", number=None, ahead=0)
    assert "Nothing was sent." in page
    assert "nothing was saved, ordered or paid" in page
    assert "Back button" in page
    assert '<a class="button" href="">Get in line</a>' in page
    assert "Back to the line</a>" in html("unsent")


def test_returned_does_not_say_that_nothing_was_paid() -> None:
    """The other site may be where it was paid."""
    text = visible(html("returned", number=None, ahead=0))
    assert "the form was not passed on" in text
    assert "may have gone through all the same" in text
    assert "nothing was" not in text
    assert '<a class="button" href="">Continue</a>' in html("returned")


@pytest.mark.parametrize("kind", get_args(Kind))
def test_a_missed_turn_is_told(kind: Kind) -> None:
    assert "Your last turn passed" in html(kind, missed=True)
    assert "Your last turn passed" not in html(kind)


@pytest.mark.parametrize(("pace", "said"), [("steady", None), ("slower", "slower"), ("standing", "standing")])
def test_a_page_without_scripts_says_how_the_line_moves(pace: str, said: str | None) -> None:
    word = f'<p id="word">{PAGES_SAY[said]}</p>' if said else '<p id="word" hidden></p>'
    assert word in html(pace=pace)
    assert '<p id="word" hidden></p>' in html("away", pace=pace)


@pytest.mark.parametrize("name", ["waiting.js", "checking.js"])
def test_comments_are_not_sent_to_every_visitor(name: str) -> None:
    page = html("challenge" if name == "checking.js" else "waiting")
    lines = [line.strip() for line in (SHIPPED[-1] / name).read_text("utf-8").splitlines()]
    sent = [line for line in lines if line and not line.startswith("//")]
    assert len(sent) < len(list(filter(None, lines)))
    for line in sent:
        assert line in page


@pytest.mark.parametrize("kind", get_args(Kind))
@pytest.mark.parametrize("number", [None, 7, LARGEST_NUMBER])
def test_every_page_is_small_complete_and_accessible(kind: Kind, number: int | None) -> None:
    page = html(kind, number=number, ahead=LARGEST_NUMBER - 1, missed=True)
    assert len(gzip.compress(page.encode())) < 10 * 1024
    assert not re.search(
        r"https?://|//[a-z]|url\(|@import|\bsrc=|\bstyle=|\bon[a-z]+=\"", re.sub("//.*", "", page)
    )
    assert "http" not in page
    assert '<html lang="en">' in page
    assert '<meta name="robots" content="noindex">' in page
    assert page.count('role="status"') == 1
    assert "aria-live" not in page
    assert len(re.findall(r"<main(?![^>]*hidden)", page)) == 1


@pytest.mark.parametrize("kind", get_args(Kind))
def test_the_policy_names_the_hashes_of_what_is_inlined(kind: Kind) -> None:
    page = html(kind)
    for element, count in (("style", 1), ("script", 0 if kind == "refused" else 1)):
        allowed = re.search(rf"{element}-src ([^;]*);", PAGES.csp)
        assert allowed
        inlined = re.findall(rf"<{element}>(.*?)</{element}>", page, flags=re.DOTALL)
        assert len(inlined) == count
        for text in inlined:
            digest = b64encode(sha256(text.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in allowed[1].split()
    assert PAGES.csp.startswith("default-src 'none'; ")
    assert "unsafe" not in PAGES.csp


def test_what_is_put_in_is_escaped() -> None:
    page = html(base="/</script><b>'\"&", room="<i>", epoch="</script>")
    assert "</script><b>" not in page
    assert "<i>" not in page
    assert page.count("</script>") == 2
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert (data["base"], data["room"], data["epoch"]) == ("/</script><b>'\"&", "<i>", "</script>")


# -- the files -----------------------------------------------------------------------------------------


def test_a_folder_overrides_file_by_file_and_message_by_message(tmp_path: Path) -> None:
    (tmp_path / "waiting.css").write_text("h1 { color: teal }", "utf-8", newline="\r\n")
    (tmp_path / "messages.en.json").write_text('{"page": {"waiting": "Nearly <there>."}}', "utf-8")
    own = Pages(tmp_path)
    page = own.render(scene()).decode()
    assert "<style>h1 { color: teal }</style>" in page
    assert "Nearly &lt;there&gt;." in page
    assert "40 people ahead of you" in visible(page)
    assert own.csp != PAGES.csp
    digest = b64encode(sha256(b"h1 { color: teal }").digest()).decode()
    assert f"style-src 'sha256-{digest}'" in own.csp


def test_only_the_shipped_scripts_lose_their_comments(tmp_path: Path) -> None:
    own = "const told = `\n  // this is said\n`;\n// to be kept as well\n"
    (tmp_path / "waiting.js").write_text(own, "utf-8")
    assert f"<script>{own}</script>" in Pages(tmp_path).render(scene()).decode()
    shipped = (SHIPPED[-1] / "waiting.js").read_text("utf-8")
    comment = next(line for line in shipped.splitlines() if line.startswith("  // "))
    code = next(line for line in shipped.splitlines() if line.startswith("  const "))
    assert comment not in html()
    assert code in html()


SCENES = st.builds(
    scene,
    kind=st.sampled_from(get_args(Kind)),
    number=st.none() | st.integers(1, 10**15),
    ahead=st.integers(0, 10**7),
    eta=st.none()
    | st.builds(lambda low, more: Eta(low, low + more), st.integers(0, 10**6), st.integers(0, 999)),
    poll_after=st.integers(1, 60),
    start=st.integers(0, 1000),
    called=st.integers(0, 10**6),
    missed=st.booleans(),
    room=st.sampled_from(["default", "sale"]),
    updated_at=st.integers(0, 4_000_000_000_000),
)


@given(SCENES)
def test_what_is_filled_in_is_what_would_be_rendered(shown: Scene) -> None:
    assert PAGES.render(shown) == PAGES._render(shown)


def test_words_that_are_filled_in_are_escaped_as_in_any_page(tmp_path: Path) -> None:
    own = '{"live": {"ahead": {"one": "one & only", "other": "<others> & you"}}}'
    (tmp_path / "messages.en.json").write_text(own, "utf-8")
    written = Pages(tmp_path).render(scene()).decode()
    assert '<span id="label">&lt;others&gt; &amp; you</span>' in written


@pytest.mark.parametrize("own", [{"unknown": ""}, {"ahead": {"one": "", "other": "ahead"}}])
def test_what_is_empty_for_one_visitor_is_filled_in_for_the_next(tmp_path: Path, own: dict[str, Any]) -> None:
    (tmp_path / "messages.en.json").write_text(json.dumps({"live": own}), "utf-8")
    made = Pages(tmp_path)
    for shown in (scene(ahead=1, eta=None), scene(ahead=5, eta=Eta(300, 600))):
        assert made.render(shown) == made._render(shown)
    assert made._shapes


@pytest.mark.parametrize(
    ("asks", "told", "is_filled_in"),
    [
        ("{{ number }} {{ wait | default('soon') }}", "1,234,567 About 3 to 6 minutes", True),
        ("{% if figure | length > 5 %}far {{ figure }}{% endif %}", "far 1,200,000", True),
        ("{% if number %}{{ number }}{% endif %}{{ 'near' if next }}{{ kind }}", "1,234,567waiting", True),
        ("{{ number[::-1] }}", "765,432,1", False),
        ("{{ number | replace(',', '.') }}", "1.234.567", False),
        ("{{ wait | upper }}", "ABOUT 3 TO 6 MINUTES", False),
        ("{{ wait.split()[1] }}", "3", False),
        ("{{ 'No. ' ~ number }}", "No. 1,234,567", False),
        ("{% if progress_value | int > 20 %}on the way{% endif %}", "on the way", False),
        ("{% if progress_value | float > 20 %}on the way{% endif %}", "on the way", False),
        ("{% if progress_value > '3' %}on the way{% endif %}", "on the way", False),
        ("{% if figure == '1,200,000' %}far{% endif %}", "far", False),
        ("{% if figure in ['1,200,000'] %}far{% endif %}", "far", False),
        ("{% for digit in figure %}{{ digit }} {% endfor %}", "1 , 2 0 0 , 0 0 0 ", False),
        ("{{ wait | length }}", "20", False),
        ("{% if wait.nothing is not defined %}plain{% endif %}", "plain", False),
        ("{{ data.poll_after }}", "1", False),
        ("{{ 'all' if data is mapping }}", "all", False),
        (
            "{% if pace is not defined and kind == 'waiting' and number == '1,234,567' %}me{% endif %}",
            "me",
            False,
        ),
    ],
)
def test_a_template_that_does_more_with_a_figure_than_print_it_is_rendered_for_each(
    tmp_path: Path, asks: str, told: str, is_filled_in: bool
) -> None:
    """Whatever the figures are: those of the pages that are tried at the start need not be telling."""
    shipped = (
        Path(pages.__file__).parents[1].with_name("templates").joinpath("waiting.html").read_text("utf-8")
    )
    (tmp_path / "waiting.html").write_text(shipped.replace("</main>", f"[{asks}]</main>", 1), "utf-8")
    own = Pages(tmp_path)
    for number in (1_234_568, 1_234_567):
        shown = scene(number=number, ahead=1_200_000, called=34_567)
        page = own.render(shown)
        assert page == own._render(shown)
    assert f"[{told}]</main>" in page.decode()
    assert (own._shapes is not None) == is_filled_in


def test_the_documentation_names_all_that_differs_from_visitor_to_visitor() -> None:
    page = (SHIPPED[-1].parent / "docs" / "settings.md").read_text("utf-8")
    listed = page.partition("What differs from visitor to visitor")[2].partition("`data`")[0]
    assert set(re.findall(r"`(\w+)`", listed)) == texts(scene(), PAGES._messages).keys()


def test_a_template_may_go_by_figures_where_no_page_was_tried(tmp_path: Path) -> None:
    shipped = (
        Path(pages.__file__).parents[1].with_name("templates").joinpath("waiting.html").read_text("utf-8")
    )
    asks = "{% if t.waiting == heading and number | length > 8 %}{{ number[0] }}{% endif %}"
    (tmp_path / "waiting.html").write_text(shipped.replace("</main>", f"[{asks}]</main>", 1), "utf-8")
    own = Pages(tmp_path)
    assert "[]</main>" in own.render(scene()).decode()
    assert own._shapes
    assert "[1]</main>" in own.render(scene(number=1_234_567)).decode()
    assert own._shapes is None


def test_only_so_many_pages_are_kept_prepared() -> None:
    own = Pages()
    for at in range(MOST_SHAPES + 5):
        assert f'"room": "room-{at}"' in own.render(scene(room=f"room-{at}")).decode()
    assert len(own._shapes or ()) == MOST_SHAPES


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("waiting.html", "{% if %}", "waiting.html line 1: TemplateSyntaxError"),
        ("waiting.html", "{{ nobody_knows }}", "'nobody_knows' is undefined"),
        ("waiting.html", '{% include "nowhere.html" %}', "nowhere.html is not among"),
        ("waiting.css", "</STYLE>", "waiting.css contains </style"),
        ("waiting.js", "'</script>'", "waiting.js contains </script"),
        ("messages.en.json", "{", "messages.en.json is not JSON"),
        ("messages.en.json", "[]", "messages.en.json is not a JSON object"),
        ("messages.en.json", '{"live": 3}', "cannot be used"),
        ("messages.en.json", '{"live": {"ahead": {}}}', "KeyError: 'other'"),
    ],
)
def test_an_override_that_cannot_be_used_stops_the_start(
    tmp_path: Path, name: str, text: str, told: str
) -> None:
    (tmp_path / name).write_text(text, "utf-8")
    with pytest.raises(SettingsError, match=re.escape(told)) as stopped:
        Pages(tmp_path)
    message = str(stopped.value)
    assert message.startswith(f"WAITROOM_TEMPLATES='{tmp_path}'")
    assert "\n" not in message


def test_missing_and_broken_files_of_the_package_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "SHIPPED", (tmp_path, tmp_path / "none"))
    with pytest.raises(WaitroomError, match=r"waiting.html is missing: it is not in .* or .*; install"):
        Pages()
    (tmp_path / "waiting.html").touch()
    with pytest.raises(WaitroomError, match=r"waiting.css is not among the page's files; install"):
        Pages()


# -- what it does --------------------------------------------------------------------------------------

on_the_browsers_loop = pytest.mark.asyncio(loop_scope="session")


@dataclass
class Gate:
    """A gate by script: its page, its answers, and a log of what it was asked."""

    scene: Scene = field(default_factory=scene)
    next_scene: Scene | None = None
    """What the page shows from its second request on."""
    room: dict[str, Any] = field(default_factory=dict)
    mine: dict[str, Any] = field(default_factory=dict)
    broken: bool = False
    has_failed: bool = False
    open: bool = False
    refresh: int = 1
    asked: list[str] = field(default_factory=list)
    answering: threading.Event = field(default_factory=threading.Event)
    begun_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.answering.set()
        self.room = {
            "state": "queueing",
            "epoch": "0",
            "called": 100,
            "rate_per_minute": None,
            "poll_after": 1,
        }
        self.mine = {"status": "waiting", "ahead": 0, "eta_seconds": None, "poll_after": 1}

    def count(self, request: str) -> int:
        return self.asked.count(request)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = f"{scope['method']} {scope['path'].removeprefix('/_waitroom')}"
        # What comes before the page was asked for is a last word of the test before this one.
        if self.asked or "_waitroom" not in scope["path"]:
            self.asked.append(request)
        cookies = [value for name, value in scope["headers"] if name == b"cookie"]
        if "_waitroom" not in scope["path"]:
            inside = b"<!doctype html><title>The shop</title><h1 id='shop'>Welcome</h1>"
            shown = self.scene
            body = inside if self.open else PAGES.render(shown)
            if self.next_scene is not None and request == "GET /shop":
                self.scene, self.next_scene = self.next_scene, None
            headers = [(b"content-type", b"text/html; charset=utf-8"), (b"cache-control", b"no-store")]
            headers.append((b"set-cookie", b"waitroom-default=ticket; Path=/"))
            if not self.open:
                headers.append((b"content-security-policy", PAGES.csp.encode()))
                headers += [(b"refresh", str(self.refresh).encode())] if shown.kind != "unsent" else []
            return await _answer(send, 200 if self.open else 503, headers, body)
        assert scope["query_string"].split(b"&")[0] == b"room=default"
        while not self.answering.is_set():
            await asyncio.sleep(0.01)
        if self.broken:
            self.has_failed = True
            return await _answer(send, 500, [], b"")
        if request == "DELETE /ticket":
            assert cookies
            return await _answer(send, 204, [], b"")
        # The window is everybody's and asked for without a cookie as long as it is to be had so; the status is about
        # the one who asks.
        if request == "GET /window" and not self.has_failed:
            assert not cookies
        at = NOON + int((time.monotonic() - self.begun_at) * 1000)
        found = {"at": at} | self.room if request == "GET /window" else self.mine
        code = found.get("code", 200)
        headers = [(b"content-type", b"application/json"), (b"waitroom-at", b"%d" % at)]
        return await _answer(send, code, headers, json.dumps(found).encode())


async def _answer(send: Any, code: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    await send({"type": "http.response.start", "status": code, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Served:
    """Whatever gate a test puts here is what the one server serves."""

    gate: Gate
    url: str

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.gate(scope, receive, send)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    app = Served()
    config = uvicorn.Config(app, port=0, lifespan="off", ws="none", log_level="critical")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started)
    app.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    yield app
    server.should_exit = True
    thread.join()


@pytest.fixture
def gate(served: Served) -> Iterator[Gate]:
    served.gate = Gate()
    yield served.gate
    served.gate.answering.set()


def until(condition: Callable[[], bool]) -> None:
    tick = threading.Event()
    for _ in range(3000):
        if condition():
            return
        tick.wait(0.01)
    raise AssertionError("it did not come to be within 30 s")


async def soon(condition: Callable[[], bool]) -> None:
    await asyncio.to_thread(until, condition)


@asynccontextmanager
async def visit(browser: Browser, served: Served, **options: Any) -> AsyncIterator[Page]:
    """Open the shop as a visitor would; nothing on the console may speak of the policy or of a mistake."""
    context = await browser.new_context(locale="en-GB", timezone_id="Asia/Tokyo", **options)
    try:
        context.set_default_timeout(30_000)
        page = await context.new_page()
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        await page.goto(f"{served.url}/shop?q=1")
        yield page
    finally:
        await asyncio.wait_for(context.close(), 30)
    # Chromium itself reports answers that are errors, and lost connections.
    assert [line for line in said if "Failed to load resource" not in line] == []


async def hasten(page: Page) -> list[float]:
    """From the next load on, let every wait of the script pass fifty times as fast; records them, in ms.

    Only the patience with an answer (10 s) stays as it is. Chance always gives a third: no jitter.
    """
    waits: list[float] = []
    await page.expose_function("waited", lambda ms: waits.append(ms))
    await page.add_init_script("""
        const slowly = setTimeout;
        window.setTimeout = (act, ms) => {
            if (ms === undefined || ms === 10000) return slowly(act, ms);
            waited(ms);
            return slowly(act, ms / 50);
        };
        Math.random = () => 1 / 3;
    """)
    return waits


async def wake(page: Page) -> None:
    """Bring the tab to the front."""
    await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


@pytest.fixture(autouse=True)
def _patient() -> None:
    expect.set_options(timeout=30_000)


@on_the_browsers_loop
async def test_a_called_visitor_is_taken_in_at_the_url_asked_for(
    browser: Browser, served: Served, gate: Gate
) -> None:
    async with visit(browser, served) as page:
        await soon(lambda: gate.count("GET /window") > 1)
        # The Refresh header asked for a reload every second; the script put an end to that.
        assert gate.count("GET /shop") == 1
        gate.open = True
        gate.room["called"] = 141
        await expect(page.locator("#shop")).to_have_text("Welcome")
        assert page.url.endswith("/shop?q=1")
        assert gate.count("GET /status") == 1


@on_the_browsers_loop
async def test_without_scripts_the_page_refreshes_itself(
    browser: Browser, served: Served, gate: Gate
) -> None:
    async with visit(browser, served, java_script_enabled=False) as page:
        await expect(page.locator("#figure")).to_have_text("40")
        await expect(page.locator("#leave-ask")).to_be_hidden()
        gate.open = True
        await expect(page.locator("#shop")).to_have_text("Welcome")


@on_the_browsers_loop
async def test_the_numbers_move_without_a_flood_of_announcements(
    browser: Browser, served: Served, gate: Gate
) -> None:
    async with visit(browser, served) as page:
        await expect(page.locator("#updated")).to_have_text("21:00:05")
        gate.room |= {"called": 130, "rate_per_minute": 60}
        await expect(page.locator("#figure")).to_have_text("10")
        await expect(page.locator("#wait")).to_have_text("Less than a minute")
        await expect(page.locator("#updated")).not_to_have_text("21:00:05")
        await expect(page).to_have_title("10 ahead – You are in line")
        assert await page.eval_on_selector("#progress", "bar => bar.value") == 70
        await expect(page.locator("#spoken")).to_have_text("")
        gate.room["called"] = 139
        await expect(page.locator("#label")).to_have_text("person ahead of you")
        gate.room["called"] = 140
        await expect(page.locator("#figure")).to_have_text("Next")
        await expect(page.locator("#spoken")).to_have_text("nobody is ahead of you any more")
        await expect(page).to_have_title("Next – You are in line")


@on_the_browsers_loop
async def test_the_place_is_announced_once_a_minute(browser: Browser, served: Served, gate: Gate) -> None:
    async with visit(browser, served) as page:
        await page.clock.install()
        await page.reload()
        asked = gate.count("GET /window")
        await page.clock.fast_forward(5_000)
        await soon(lambda: gate.count("GET /window") > asked)
        await expect(page.locator("#spoken")).to_have_text("")
        await page.clock.fast_forward(60_000)
        await expect(page.locator("#spoken")).to_have_text("40 people ahead of you. Not known yet")


@on_the_browsers_loop
@pytest.mark.parametrize("rate", [None, 0.01, 0.6, 7, 60, 299, 6000])
async def test_page_and_script_tell_the_same(
    browser: Browser, served: Served, gate: Gate, rate: float | None
) -> None:
    number, called, backlog = 7_000, 100, 2_000
    room = a_window(number, called, rate_per_minute=rate, backlog=backlog)
    ahead = number - called - 1
    place = Place("waiting", number, ahead, window.eta(ahead, room), 1)
    gate.scene = scene(place=place)
    gate.room |= {"rate_per_minute": rate, "backlog": backlog}
    async with visit(browser, served) as page:
        parts = ("#figure", "#label", "#wait")
        written = [await page.text_content(part) for part in parts]
        title = await page.title()
        await page.evaluate(
            "for (const id of ['figure', 'label', 'wait']) document.getElementById(id).textContent = ''"
        )
        for part, text in zip(parts, written, strict=True):
            assert text
            await expect(page.locator(part)).to_have_text(text)
        assert await page.title() == title


@on_the_browsers_loop
async def test_a_lost_connection_is_told_and_outlived(browser: Browser, served: Served, gate: Gate) -> None:
    async with visit(browser, served) as page:
        word = page.locator("#word")
        gate.broken = True
        await expect(word).to_have_text("Connection lost. Your place is kept; trying again.")
        await expect(page.locator("#spoken")).to_have_text(
            "Connection lost. Your place is kept; trying again."
        )
        asked = gate.count("GET /window")
        await soon(lambda: gate.count("GET /window") > asked)
        gate.broken = False
        await expect(word).to_be_hidden()
        await expect(page.locator("#spoken")).to_have_text("The connection is back.")
        await page.context.set_offline(True)
        await expect(word).to_be_visible()
        await page.context.set_offline(False)
        await expect(word).to_be_hidden()


@on_the_browsers_loop
async def test_tries_grow_rarer_while_the_connection_is_lost(
    browser: Browser, served: Served, gate: Gate
) -> None:
    gate.scene = scene(tempo=Tempo(0.2, 60), poll_after=6)
    gate.broken = True
    async with visit(browser, served) as page:
        waits = await hasten(page)
        await page.reload()
        await soon(lambda: len(waits) > 5)
        # The usual interval is 6 s; a third of it, doubled with each failure, and of 60 s at the most.
        assert [round(ms) for ms in waits[:6]] == [6_000, 4_000, 8_000, 16_000, 20_000, 20_000]


@on_the_browsers_loop
async def test_those_far_away_look_rarely_by_the_pace_of_the_line(
    browser: Browser, served: Served, gate: Gate
) -> None:
    tempo = Tempo(seconds_per_call=0.6, longest_poll=60, burst_seconds=10)
    gate.scene = scene(number=1101, ahead=1000, tempo=tempo)
    async with visit(browser, served) as page:
        waits = await hasten(page)
        await page.reload()
        await soon(lambda: len(waits) > 0)
        for rate in (None, 50, 100, 150, 900, 0):
            expected = round(1_000 * window.poll_seconds(1000, rate, tempo))
            gate.room["rate_per_minute"] = rate
            await soon(lambda ms=expected: round(waits[-1]) == ms)  # type: ignore[misc]
        gate.room["called"] = 1100
        await expect(page.locator("#figure")).to_have_text("Next")
        await soon(lambda: round(waits[-1]) == 1_000)
        gate.room |= {"called": 100, "poll_after": 300}
        await soon(lambda: round(waits[-1]) == 60_000)


@on_the_browsers_loop
async def test_a_wait_that_grows_is_explained_for_a_while(
    browser: Browser, served: Served, gate: Gate
) -> None:
    slower, standing = PAGES_SAY["slower"], PAGES_SAY["standing"]
    gate.scene = scene(eta=Eta(0, 60))
    gate.room["rate_per_minute"] = 60
    async with visit(browser, served) as page:
        word, spoken = page.locator("#word"), page.locator("#spoken")
        await page.clock.install()
        await page.reload()
        await page.clock.run_for(2_000)
        await expect(page.locator("#wait")).to_have_text("Less than a minute")
        await expect(word).to_be_hidden()
        gate.room["rate_per_minute"] = 20
        await page.clock.run_for(4_000)
        await expect(page.locator("#wait")).to_have_text("About 1 to 3 minutes")
        await expect(word).to_have_text(slower)
        await expect(spoken).to_have_text(slower)
        gate.room["rate_per_minute"] = 0
        await page.clock.run_for(4_000)
        await expect(word).to_have_text(standing)
        await expect(page.locator("#wait")).to_have_text("Not known yet")
        gate.room["rate_per_minute"] = 20
        await page.clock.run_for(4_000)
        await expect(word).to_have_text(slower)
        for _ in range(31):  # no further at once than until an answer: one that took longer would be given up
            async with page.expect_response("**/window*"):
                await page.clock.run_for(4_000)
        await expect(word).to_be_hidden()
        await expect(spoken).not_to_have_text(PAGES_SAY["restored"])


@on_the_browsers_loop
async def test_what_the_page_said_of_the_pace_stays_for_a_while(
    browser: Browser, served: Served, gate: Gate
) -> None:
    gate.scene = scene(pace="slower")
    gate.room["rate_per_minute"] = 60
    async with visit(browser, served) as page:
        await soon(lambda: gate.count("GET /window") > 1)
        await expect(page.locator("#word")).to_have_text(PAGES_SAY["slower"])
        await expect(page.locator("#spoken")).to_have_text("")


@on_the_browsers_loop
async def test_a_store_that_is_away_is_told(browser: Browser, served: Served, gate: Gate) -> None:
    async with visit(browser, served) as page:
        gate.room["state"] = "away"
        await expect(page.locator("#word")).to_contain_text(
            "The line cannot be seen just now. Your place is kept"
        )
        gate.room["state"] = "queueing"
        await expect(page.locator("#word")).to_be_hidden()


@on_the_browsers_loop
async def test_the_away_page_ends_when_the_line_is_seen_again(
    browser: Browser, served: Served, gate: Gate
) -> None:
    gate.scene = scene("away", number=None, ahead=0)
    gate.room["state"] = "away"
    async with visit(browser, served) as page:
        await soon(lambda: gate.count("GET /window") > 1)
        await expect(page.locator("#word")).to_be_hidden()
        gate.broken = True
        await expect(page.locator("#word")).to_have_text("Connection lost; trying again.")
        gate.broken = False
        gate.room["state"] = "queueing"
        gate.scene = scene()
        await expect(page.locator("h1").first).to_have_text("You are in line.")


@on_the_browsers_loop
@pytest.mark.parametrize(
    "event", ["online", "visibilitychange", "pageshow"], ids=["online", "to the front", "out of the cache"]
)
async def test_it_looks_at_once_and_never_twice_at_a_time(
    browser: Browser, served: Served, gate: Gate, event: str
) -> None:
    gate.scene = scene(poll_after=3000, tempo=Tempo(0.2, 3000))
    gate.answering.clear()
    fire = {
        "online": "dispatchEvent(new Event('online'))",
        "visibilitychange": "document.dispatchEvent(new Event('visibilitychange'))",
        "pageshow": "dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))",
    }[event]
    async with visit(browser, served) as page:
        await page.clock.install()
        await page.reload()
        await page.evaluate(fire)
        await page.clock.run_for(1_000)
        await soon(lambda: gate.count("GET /window") == 1)
        for _ in range(3):
            await page.evaluate(fire)
        await page.clock.run_for(1_500)
        assert gate.count("GET /window") == 1
        # An answer that takes longer than 10 s is given up.
        await page.clock.run_for(10_000)
        await expect(page.locator("#word")).to_be_visible()
        gate.answering.set()
        await page.evaluate(fire)
        await page.clock.run_for(1_500)
        await soon(lambda: gate.count("GET /window") > 1)
        await expect(page.locator("#word")).to_be_hidden()


@on_the_browsers_loop
async def test_reloads_keep_their_distance(browser: Browser, served: Served, gate: Gate) -> None:
    async with visit(browser, served) as page:
        waits = await hasten(page)
        await page.add_init_script("Date.now = () => 1e12")
        gate.room["called"] = 141  # called, says the window; the page that comes says waiting all the same
        await page.reload()
        await soon(lambda: len(waits) > 5)
        assert [round(ms) for ms in waits[:6]] == [1_000, 0, 1_000, 2_000, 1_000, 2_000]
        gate.room["called"] = 130
        await expect(page.locator("#figure")).to_have_text("10")  # a tab between two loads is hard to close


@on_the_browsers_loop
async def test_at_the_door_it_asks_for_itself(browser: Browser, served: Served, gate: Gate) -> None:
    gate.scene = scene("door", ahead=0)
    async with visit(browser, served) as page:
        await soon(lambda: gate.count("GET /status") > 1)
        assert gate.count("GET /window") == 0
        assert gate.count("GET /shop") == 1
        gate.open = True
        gate.mine["status"] = "active"
        await expect(page.locator("#shop")).to_have_text("Welcome")


@on_the_browsers_loop
@pytest.mark.parametrize("mine", [{"status": "expired"}, {"code": 401}])
@pytest.mark.parametrize("kind", ["door", "waiting"])
async def test_a_place_that_is_gone_brings_a_new_page(
    browser: Browser, served: Served, gate: Gate, kind: Kind, mine: dict[str, Any]
) -> None:
    gate.scene = scene(kind, ahead=0)
    gate.room["epoch"] = "1"
    async with visit(browser, served) as page:
        await soon(lambda: gate.count("GET /status") > 0)
        gate.scene = scene(number=977, ahead=800, missed=True, epoch="1")
        gate.mine |= mine
        await expect(page.locator("#figure")).to_have_text("800")
        await expect(page.locator(".missed")).to_be_visible()


@on_the_browsers_loop
async def test_in_another_epoch_the_store_says_what_the_place_is(
    browser: Browser, served: Served, gate: Gate
) -> None:
    gate.room["epoch"] = "1"
    gate.mine |= {"ahead": 12, "eta_seconds": {"low": 130, "high": 170}}
    async with visit(browser, served) as page:
        await expect(page.locator("#figure")).to_have_text("12")
        await expect(page.locator("#wait")).to_have_text("About 2 to 3 minutes")
        gate.open = True
        gate.mine["status"] = "active"
        await expect(page.locator("#shop")).to_have_text("Welcome")


@on_the_browsers_loop
async def test_the_first_page_comes_back_at_once(browser: Browser, served: Served, gate: Gate) -> None:
    gate.scene = scene("first", number=None, ahead=0)
    gate.next_scene = scene()
    gate.refresh = 3000
    async with visit(browser, served) as page:
        await expect(page.locator("#heading")).to_have_text("You are in line.")
        assert gate.count("GET /shop") == 2


NO_STORAGE = "Object.defineProperty(window, 'sessionStorage', {get() { throw new DOMException('no') }})"
NO_COOKIES = "Object.defineProperty(navigator, 'cookieEnabled', {get: () => false})"


@on_the_browsers_loop
@pytest.mark.parametrize(
    ("script", "loads"),
    [("", 3), (NO_STORAGE, 3), (NO_COOKIES, 1)],
    ids=["cookies lost", "storage blocked too", "cookies off"],
)
async def test_a_browser_that_sends_no_cookies_back_is_told_and_left_in_peace(
    browser: Browser, served: Served, gate: Gate, script: str, loads: int
) -> None:
    gate.open = True
    async with visit(browser, served) as page:
        gate.open = False
        gate.mine = {"code": 401, "cookie": False}
        gate.scene = scene("first", number=None, ahead=0)
        gate.asked.clear()
        await page.add_init_script(script)
        await page.goto(f"{served.url}/shop")
        await expect(page.locator("#cookies h1")).to_be_focused()
        await expect(page.locator("#cookies")).to_contain_text("Allow cookies for this site")
        await expect(page.locator("#view")).to_be_hidden()
        assert gate.count("GET /shop") == loads
        await asyncio.sleep(2)  # twice what the Refresh header asks for: nothing comes
        assert gate.count("GET /shop") == loads
        gate.scene = scene()
        await page.get_by_role("link", name="Try again").click()
        await expect(page.locator("#heading")).to_have_text("You are in line.")


@on_the_browsers_loop
async def test_leaving_is_asked_twice_and_ends_the_polling(
    browser: Browser, served: Served, gate: Gate
) -> None:
    async with visit(browser, served) as page:
        await page.get_by_role("button", name="Leave the line").click()
        await expect(page.get_by_role("button", name="Stay")).to_be_focused()
        await page.get_by_role("button", name="Stay").click()
        await expect(page.get_by_role("button", name="Leave the line")).to_be_focused()
        await page.get_by_role("button", name="Leave the line").click()
        gate.broken = True
        await page.get_by_role("button", name="Leave", exact=True).click()
        await expect(page.locator("#word")).to_contain_text("You are still in line")
        gate.broken = False
        await page.get_by_role("button", name="Leave", exact=True).click()
        await expect(page.locator("#left h1")).to_be_focused()
        await expect(page).to_have_title("You have left the line")
        asked = len(gate.asked)
        await wake(page)
        await page.get_by_role("link", name="Join again").click()
        await expect(page.locator("#heading")).to_have_text("You are in line.")
        assert gate.asked[asked] == "GET /shop"


@on_the_browsers_loop
@pytest.mark.parametrize(
    ("kind", "heading", "link"),
    [("unsent", "Nothing was sent.", "Get in line"), ("returned", "One more step.", "Continue")],
)
async def test_what_was_not_sent_is_never_sent_again(
    browser: Browser, served: Served, gate: Gate, kind: Kind, heading: str, link: str
) -> None:
    gate.open = True
    async with visit(browser, served) as page:
        gate.open = False
        gate.scene = scene(kind, number=None, ahead=0)
        await page.set_content("<form method=post action='/checkout'><button>Buy</button></form>")
        waits = await hasten(page)
        await page.get_by_role("button").click()
        await expect(page.locator("h1")).to_have_text(heading)
        await wake(page)
        assert waits == []  # it waits for nothing, so nothing comes
        assert gate.count("POST /checkout") == 1
        since = gate.asked[gate.asked.index("POST /checkout") :]
        assert not [request for request in since if request.endswith(("/window", "/status"))]
        gate.scene = scene()
        await page.get_by_role("link", name=link).click()
        await expect(page.locator("#heading")).to_have_text("You are in line.")
        assert gate.count("POST /checkout") == 1
        assert gate.count("GET /checkout") == 1


@on_the_browsers_loop
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 1280])
async def test_nothing_runs_off_the_side(
    browser: Browser, served: Served, gate: Gate, width: int, scheme: Any
) -> None:
    gate.scene = scene(number=LARGEST_NUMBER, ahead=LARGEST_NUMBER - 101, missed=True, poll_after=3000)
    async with visit(browser, served, viewport={"width": width, "height": 640}, color_scheme=scheme) as page:
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
