"""The arithmetic of the line, and the page that tells it."""

from benchmarks.micro.timing import Benchmark
from waitroom.line.window import Epoch, Place, Rank, Tempo, Window, ahead, eta, poll_seconds, spread, status
from waitroom.page.pages import Pages
from waitroom.page.scenes import Facts, Scene

TEMPO = Tempo.of(50, 10, 30)
EPOCH = "0123456789abcdef0123-x"
WINDOW = Window(
    1, "", (Epoch(EPOCH, 1_000_000, 5_000, 1_000),), EPOCH, 1_500, 0, 0, 300.0, 1_760_000_000_000, 0
)
HERE = Rank(EPOCH, 123_456)


def place() -> Place:
    """Tell all that a poll is told."""
    in_front = ahead(HERE, WINDOW)
    poll_after = spread(poll_seconds(in_front, WINDOW.rate_per_minute, TEMPO), 0.5)
    return Place(status(HERE, WINDOW), HERE.number, in_front, eta(in_front, WINDOW), poll_after)


def test_place_in_line(benchmark: Benchmark) -> None:
    assert benchmark(place).ahead == 118_455


def test_waiting_page(benchmark: Benchmark) -> None:
    facts = Facts("shop", 300.0, TEMPO)
    scene = Scene("waiting", place(), facts, EPOCH, 0, 5_000, False, "/_waitroom", 1_760_000_000_000)
    assert b"118,455" in benchmark(Pages().render, scene)
