"""What one page shows: the place of its visitor, in words, and what the template and the script are given of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

from waitroom.line.window import (
    ETA_HIGH,
    ETA_LOW,
    ETA_SECONDS,
    FASTER,
    FASTEST,
    LOOKS,
    Eta,
    Place,
    Tempo,
)
from waitroom.page.messages import DAY, HOUR, SCALES, Messages, digits, duration, moment, say, wait

Kind = Literal["waiting", "door", "first", "away", "challenge", "refused", "unsent", "returned"]


@dataclass(frozen=True, eq=False)
class Facts:
    """What all of a room's pages tell alike."""

    room: str
    kept_seconds: float
    """How long the place is kept once the turn has come."""
    tempo: Tempo
    stale_seconds: float = 16
    """What is older than this is a kept copy: nothing of the gate's own takes so long."""


class Scene(NamedTuple):
    """All that one rendering shows; nothing of the request is in it."""

    kind: Kind
    place: Place
    facts: Facts
    epoch: str | None
    """Of this visitor's rank; None while there is no number."""
    start: int
    """`called` when the ticket was issued."""
    called: int
    """`called` as of now, in the visitor's epoch."""
    missed: bool
    """An earlier turn of this visitor passed unused."""
    base: str
    """The path below which the gate's own routes are, such as `/_waitroom`."""
    updated_at: int
    """As of when the counts are, in milliseconds since 1970."""
    token: str = ""
    """This visitor's ticket, for the page to present should the browser lose the cookie."""


def view(scene: Scene, messages: Messages, shown: Mapping[str, Any], data: Any) -> dict[str, Any]:
    """All that the template is given.

    What differs from visitor to visitor, `shown` and `data`, it may print, and of number and figure it may ask the
    length; by the rest it may decide.
    """
    page, place = messages["page"], scene.place
    unnumbered = "_unnumbered" if scene.kind == "away" and place.number is None else ""
    return {
        "lang": messages["lang"],
        "t": page,
        "kind": scene.kind,
        "heading": page[scene.kind],
        "lead": page[f"{scene.kind}_lead{unnumbered}"],
        "missed": scene.missed,
        "ticket": place.number is not None and scene.kind in ("waiting", "door", "away"),
        "next": is_next(scene),
        "word": messages["live"].get(place.pace, "") if scene.kind == "waiting" else "",
        "kept": say(page["kept"], duration=duration(scene.facts.kept_seconds, page)),
        "data": data,
        **shown,
    }


def is_next(scene: Scene) -> bool:
    """Tell whether nobody is in front of this visitor."""
    if scene.kind == "door":
        return scene.place.number is not None and scene.place.ahead == 0
    return scene.kind == "waiting" and scene.place.ahead == 0


def texts(scene: Scene, messages: Messages) -> dict[str, str]:
    """What differs from visitor to visitor, and from look to look."""
    page, place = messages["page"], scene.place
    updated, updated_iso = moment(scene.updated_at, page["utc"])
    is_timed = scene.kind == "challenge"
    way = max(1, (place.number or 0) - scene.start)
    return {
        "number": "" if place.number is None else digits(place.number, messages),
        "wait": wait(place.eta, messages["live"]),
        "timed": say(page["timed"], duration=duration(place.poll_after, page)) if is_timed else "",
        "updated": updated,
        "updated_iso": updated_iso,
        "progress_max": str(way),
        "progress_value": str(min(way, max(0, scene.called - scene.start))),
        **_figure(scene, messages),
    }


def _figure(scene: Scene, messages: Messages) -> dict[str, str]:
    """Tell how many are ahead: large on the ticket, and in the title of the tab."""
    live, page, place = messages["live"], messages["page"], scene.place
    if scene.kind == "door" and place.ahead:
        label = say(live["at_door"], place.ahead)
        return {"figure": digits(place.ahead, messages), "label": label, "title": live["title_door"]}
    if scene.kind == "door" and place.number is not None:
        return {
            "figure": digits(place.number, messages),
            "label": page["door_label"],
            "title": page["door"],
        }
    if place.ahead == 0:
        figure, label, title = live["next"], live["next_label"], live["title_next"]
    else:
        figure = digits(place.ahead, messages)
        label = say(live["ahead"], place.ahead)
        title = say(live["title"], place.ahead, figure=figure)
    return {"figure": figure, "label": label, "title": title if scene.kind == "waiting" else page[scene.kind]}


def visitor_members(scene: Scene) -> str:
    """What the script is told of this visitor, as members of a JSON object, written in one go."""
    place = scene.place
    if scene.kind == "challenge":
        return f'"poll_after": {place.poll_after}'
    number = "null" if place.number is None else place.number
    longest = "null" if place.eta is None else place.eta.high
    return (
        f'"number": {number}, "start": {scene.start}, "poll_after": {place.poll_after}, "longest": {longest}, '
        f'"made": {scene.updated_at}, "ticket": "{scene.token}"'
    )


def room_data(scene: Scene, messages: Messages) -> dict[str, Any]:
    """What the script works with besides: it holds no words and no constants of the line itself."""
    told = {"kind": scene.kind, "room": scene.facts.room, "base": scene.base}
    if scene.kind == "challenge":
        return {**told, "check": messages["check"]}
    return {
        **told,
        "pace": scene.place.pace if scene.kind == "waiting" else "steady",
        "epoch": scene.epoch,
        "stale_seconds": scene.facts.stale_seconds,
        "longest_poll": scene.facts.tempo.longest_poll,
        "seconds_per_call": scene.facts.tempo.seconds_per_call,
        "burst_seconds": scene.facts.tempo.burst_seconds,
        "poll": [LOOKS, FASTER, FASTEST],
        "eta": [ETA_LOW, ETA_HIGH, ETA_SECONDS],
        "scales": SCALES,
        "thousands": messages["thousands"],
        "live": messages["live"],
    }


def trials() -> list[Scene]:
    """Scenes that between them use every message and every branch of the template, and fill in each gap twice."""
    tempo = Tempo(0.2, 60)
    places = (
        Place("waiting", None, 0, None, 2),
        Place("waiting", 75, 23, None, 2),
        Place("waiting", 97, 45, Eta(60, 600), 2, "slower"),
        Place("waiting", 86, 31, Eta(6000, 60000), 3, "slower"),
    )
    return [
        Scene(kind, place, Facts("trial", kept, tempo), "0", 1, called, True, "", 0)
        for kind in get_args(Kind)
        for called, place in enumerate(places)
        for kept in (1, 120, 2 * HOUR, 2 * DAY)
    ]
