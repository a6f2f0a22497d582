"""The waiting page and its words.

One document with everything in it: the style and the script are inlined, and their hashes make the
Content-Security-Policy. Files are read when `Pages` is made; rendering reads no clock and does no I/O.
"""

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, get_args

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError, TemplateNotFound
from markupsafe import Markup

from waitroom.errors import SettingsError, WaitroomError
from waitroom.window import (
    ETA_HIGH,
    ETA_LOW,
    ETA_SECONDS,
    FASTER,
    FASTEST,
    LARGEST_NUMBER,
    LOOKS,
    Eta,
    Place,
    Tempo,
)

Kind = Literal["waiting", "door", "first", "away", "challenge", "refused", "unsent", "returned"]

_PACKAGE = Path(__file__).parent
SHIPPED = (_PACKAGE / "templates", _PACKAGE.parent / "templates")
"""Where the shipped files may be: inside the wheel, or beside the package in a checkout."""

LANGUAGE = "en"

MINUTE, HOUR, DAY = 60, 3600, 86_400

SCALES = (
    (30 * MINUTE, "minutes", MINUTE, 1),
    (2 * HOUR, "minutes", MINUTE, 5),
    (2 * DAY, "hours", HOUR, 1),
    (LARGEST_NUMBER, "days", DAY, 1),
)
"""How a wait is told: up to so many seconds, in this unit of so many seconds, in steps of so many units."""


@dataclass(frozen=True, slots=True)
class Scene:
    """All that one rendering shows; nothing of the request is in it."""

    kind: Kind
    place: Place
    room: str
    epoch: str | None
    """Of this visitor's rank; None while there is no number."""
    start: int
    """`called` when the ticket was issued."""
    called: int
    """`called` as of now, in the visitor's epoch."""
    missed: bool
    """An earlier turn of this visitor passed unused."""
    kept_seconds: float
    """How long the place is kept once the turn has come, seconds."""
    tempo: Tempo
    base: str
    """The path below which the gate's own routes are, such as `/_waitroom`."""
    updated_at: datetime
    """As of when the counts are; aware."""


class Pages:
    """Renders the page a visitor meets instead of the site.

    Files in the folder `overrides` win over the shipped ones of the same name; messages one by one. Raises
    SettingsError where one of them cannot be used: every kind of page is tried before the first visitor is.
    """

    csp: str
    """The Content-Security-Policy under which every page runs."""

    def __init__(self, overrides: Path | None = None) -> None:
        shipped = _shipped()
        self._files = Environment(
            loader=FileSystemLoader([folder for folder in (overrides, shipped) if folder]),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        try:
            css, js = self._inline("waiting.css", "style"), self._inline("waiting.js", "script")
            checking = self._inline("checking.js", "script")
            self._messages = _merged(
                _catalogue((shipped / f"messages.{LANGUAGE}.json").read_text("utf-8")),
                _catalogue(self._source(f"messages.{LANGUAGE}.json")),
            )
            self._files.globals |= {"css": Markup(css), "js": Markup(js), "checking": Markup(checking)}  # noqa: S704  # the operator's own files
            self._template = self._files.get_template("waiting.html")
            self.csp = _policy(css, js, checking)
            for scene in _trials():
                self.render(scene)
        except TemplateNotFound as missing:
            raise _broken(f"{missing.name} is not among the page's files", overrides, shipped) from None
        except (TemplateError, LookupError, TypeError, ValueError, AttributeError, OSError) as wrong:
            raise _broken(_line(wrong), overrides, shipped) from wrong

    def render(self, scene: Scene) -> bytes:
        """Render one page as UTF-8 HTML, complete in itself."""
        return self._template.render(_view(scene, self._messages)).encode()

    def _source(self, name: str) -> str:
        loader = self._files.loader
        assert loader is not None  # noqa: S101  # it was given just above
        return loader.get_source(self._files, name)[0]

    def _inline(self, name: str, element: str) -> str:
        text = self._source(name)
        if f"</{element}" in text.lower():
            raise ValueError(f"{name} contains </{element}, which would end the element it is put into")
        # Comments are for those who read the file: every visitor loads the page.
        return re.sub(r"^ *//.*\n", "", text, flags=re.MULTILINE) if element == "script" else text


def _shipped() -> Path:
    for folder in SHIPPED:
        if (folder / "waiting.html").is_file():
            return folder
    looked = " or ".join(map(str, SHIPPED))
    raise WaitroomError(f"waiting.html is missing: it is not in {looked}; install waitroom again")


def _broken(what: str, overrides: Path | None, shipped: Path) -> WaitroomError:
    if overrides is None:
        return WaitroomError(f"the page in {shipped} cannot be used: {what}; install waitroom again")
    return SettingsError(
        f"WAITROOM_TEMPLATES={str(overrides)!r} cannot be used: {what}; "
        f"correct the file, or remove it to use the shipped one in {shipped}"
    )


def _line(wrong: Exception) -> str:
    where = (
        f"{getattr(wrong, 'name', None) or 'a file'} line {wrong.lineno}: "
        if hasattr(wrong, "lineno")
        else ""
    )
    return where + " ".join(f"{type(wrong).__name__}: {wrong}".split())


def _policy(css: str, *scripts: str) -> str:
    style, *hashes = (b64encode(sha256(text.encode()).digest()).decode() for text in (css, *scripts))
    script = " ".join(f"'sha256-{one}'" for one in hashes)
    # Images of the site itself, because a browser asks for its /favicon.ico on every page.
    return (
        f"default-src 'none'; script-src {script}; style-src 'sha256-{style}'; connect-src 'self'; "
        "worker-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    )


# -- words ---------------------------------------------------------------------------------------------

Messages = Mapping[str, Any]


def _catalogue(text: str) -> dict[str, Any]:
    try:
        catalogue = json.loads(text)
    except ValueError as wrong:
        raise ValueError(f"messages.{LANGUAGE}.json is not JSON: {wrong}") from None
    if not isinstance(catalogue, dict):
        raise ValueError(f"messages.{LANGUAGE}.json is not a JSON object")
    return catalogue


def _merged(shipped: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Lay an operator's own messages over the shipped ones, so that an older set lacks none of the newer."""
    groups = {name: {**shipped[name], **own.get(name, {})} for name in ("live", "check", "page")}
    return {**shipped, **own, **groups}


def _say(message: str | Mapping[str, str], count: int = 0, **values: str) -> str:
    """Fill in a message, in the form that fits the count."""
    if not isinstance(message, str):
        message = message.get("one" if count == 1 else "other", message["other"])
    return re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], match[0]), message)


def _digits(number: int, messages: Messages) -> str:
    return f"{number:,}".replace(",", messages["thousands"])


def _wait(eta: Eta | None, live: Messages) -> str:
    """Tell a range in people's words: its low end rounded down, its high end up."""
    if eta is None:
        return str(live["unknown"])
    if eta.high <= MINUTE:
        return str(live["under_a_minute"])
    name, step, unit = next((name, step, unit) for limit, name, unit, step in SCALES if eta.high <= limit)
    low, high = eta.low // (unit * step) * step, -(-eta.high // (unit * step)) * step
    form = "upto" if low == 0 else "about" if low == high else "range"
    return _say(live[f"{name}_{form}"], high, low=str(low), high=str(high))


def _duration(seconds: float, page: Messages) -> str:
    """Tell how long something lasts, never more than it does."""
    units = (("days", DAY), ("hours", HOUR), ("minutes", MINUTE), ("seconds", 1))
    # From two of a unit on, or at exactly one: "90 seconds", but "1 minute".
    name, unit = next((each for each in units if seconds >= 2 * each[1] or seconds == each[1]), units[-1])
    count = max(1, int(seconds // unit))
    return _say(page[name], count, n=str(count))


# -- what the template and the script are given --------------------------------------------------------


def _view(scene: Scene, messages: Messages) -> dict[str, Any]:
    page, place = messages["page"], scene.place
    updated = scene.updated_at.astimezone(UTC)
    unnumbered = "_unnumbered" if scene.kind == "away" and place.number is None else ""
    return {
        "lang": messages["lang"],
        "t": page,
        "kind": scene.kind,
        "heading": page[scene.kind],
        "lead": page[f"{scene.kind}_lead{unnumbered}"],
        "missed": scene.missed,
        "ticket": place.number is not None and scene.kind in ("waiting", "door", "away"),
        "number": "" if place.number is None else _digits(place.number, messages),
        "wait": _wait(place.eta, messages["live"]),
        "word": messages["live"].get(place.pace, "") if scene.kind == "waiting" else "",
        "timed": _say(page["timed"], duration=_duration(place.poll_after, page)),
        "kept": _say(page["kept"], duration=_duration(scene.kept_seconds, page)),
        "updated": _say(page["utc"], time=f"{updated:%H:%M:%S}"),
        "updated_iso": f"{updated:%Y-%m-%dT%H:%M:%SZ}",
        "data": _data(scene, messages),
        **_figure(scene, messages),
        **_progress(scene),
    }


def _figure(scene: Scene, messages: Messages) -> dict[str, Any]:
    """Tell how many are ahead: large on the ticket, and in the title of the tab."""
    live, page, place = messages["live"], messages["page"], scene.place
    if scene.kind == "door" and place.number is not None:
        return {
            "figure": _digits(place.number, messages),
            "label": page["door_label"],
            "title": page["door"],
            "next": True,
        }
    if place.ahead == 0:
        figure, label, title = live["next"], live["next_label"], live["title_next"]
    else:
        figure = _digits(place.ahead, messages)
        label = _say(live["ahead"], place.ahead)
        title = _say(live["title"], place.ahead, figure=figure)
    if scene.kind != "waiting":
        title = page[scene.kind]
    return {
        "figure": figure,
        "label": label,
        "title": title,
        "next": scene.kind == "waiting" and place.ahead == 0,
    }


def _progress(scene: Scene) -> dict[str, int]:
    way = max(1, (scene.place.number or 0) - scene.start)
    return {"progress_max": way, "progress_value": min(way, max(0, scene.called - scene.start))}


def _data(scene: Scene, messages: Messages) -> dict[str, Any]:
    """What the script works with: it holds no words and no constants of the line itself."""
    if scene.kind == "challenge":
        return {
            "kind": scene.kind,
            "room": scene.room,
            "base": scene.base,
            "poll_after": scene.place.poll_after,
            "check": messages["check"],
        }
    return {
        "kind": scene.kind,
        "room": scene.room,
        "base": scene.base,
        "epoch": scene.epoch,
        "number": scene.place.number,
        "start": scene.start,
        "poll_after": scene.place.poll_after,
        "longest_poll": scene.tempo.longest_poll,
        "seconds_per_call": scene.tempo.seconds_per_call,
        "burst_seconds": scene.tempo.burst_seconds,
        "poll": [LOOKS, FASTER, FASTEST],
        "eta": [ETA_LOW, ETA_HIGH, ETA_SECONDS],
        "longest": scene.place.eta and scene.place.eta.high,
        "pace": scene.place.pace if scene.kind == "waiting" else "steady",
        "scales": SCALES,
        "thousands": messages["thousands"],
        "live": messages["live"],
    }


def _trials() -> list[Scene]:
    """Scenes that between them use every message and every branch of the template."""
    tempo = Tempo(0.2, 60)
    when = datetime(2000, 1, 1, tzinfo=UTC)
    places = (Place("waiting", None, 0, None, 2), Place("waiting", 9, 7, Eta(60, 600), 2, "slower"))
    return [
        Scene(kind, place, "trial", "0", 1, 1, True, kept, tempo, "", when)
        for kind in get_args(Kind)
        for place in places
        for kept in (1, 120, 2 * HOUR, 2 * DAY)
    ]
