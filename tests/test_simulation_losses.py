"""What the oracle of the fault simulation grants a store that has lost who left (P1), and no more: played by hand."""

import random
from collections.abc import Iterator

import pytest

from tests import stores
from tests.conftest import SECRET
from tests.simulation.account import BrokenPromiseError
from tests.simulation.crowd import ROOM_KEYS
from tests.simulation.mutants import MUTANTS
from tests.simulation.oracle import Oracle
from tests.simulation.parts import Parts, parts
from tests.simulation.processes import Process
from tests.simulation.world import SECOND, Server, World
from waitroom.config.settings import load
from waitroom.line.tickets import Pass, Ticket, pass_of

ONE_TOO_MANY = next(mutant for mutant in MUTANTS if mutant.name == "an off-by-one in the capacity")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with stores.valkey(tmp_path_factory.mktemp("simulated")) as url:
        server = Server(url)
        yield server
        server.close()


class Played:
    """A room for three with one process; one visitor has left, others are inside, and then all is lost."""

    def __init__(self, server: Server, code: Parts, *, inside: int = 3) -> None:
        self.world = World(server, random.Random(1), ROOM_KEYS, tells_history=True)
        self.oracle = Oracle(self.world)
        settings = load(
            redis_url=server.url,
            secret=SECRET,
            room="simulated",
            capacity=3,
            window_size=9,
            window_interval=2.0,
            active_window_count=6,
            claim_seconds=6.0,
            session_seconds=40.0,
            settle_seconds=2.0,
        )
        self.process = Process("one", self.world, self.oracle, settings, code)
        self._ids = 0
        self.process.sync()
        self.left = self.enters()
        self.pass_time(3)
        assert self.process.leave(self.left)
        self.inside = [self.enters() for _ in range(inside)]
        self.pass_time(1)
        self.world.empty()
        self.oracle.emptied()
        self.process.restart()

    def enters(self) -> Pass:
        entered = self.comes()
        assert entered, "there is no place"
        return entered

    def comes(self) -> Pass | None:
        """Somebody asks to come in."""
        self._ids += 1
        id = f"v{self._ids}"
        answer = self.process.join([("enter", id)])
        assert answer
        window, (joined,) = answer
        if not joined.pass_ends:
            return None
        ticket = Ticket(window.generation, window.newest.name, joined.number, id, window.at, joined.start)
        return pass_of(ticket, window.at, joined.pass_ends, joined.pass_ends - window.at)

    def comes_back(self) -> Pass:
        """The pass of the one who left is used once more: no process and no store knows that it is over."""
        renewed = self.process.admit(self.left)
        assert renewed
        return renewed

    def pass_time(self, seconds: int) -> None:
        self.world.true += seconds * SECOND

    def settles(self) -> None:
        self.pass_time(10)
        self.process.sync()
        assert self.process.window
        assert not self.process.window.settling


@pytest.mark.parametrize("again", ["comes back and leaves", "leaves once more"])
def test_p1_who_left_before_a_loss_can_leave_a_place_of_those_inside_to_one_more(
    server: Server, again: str
) -> None:
    played = Played(server, parts())
    if again == "comes back and leaves":
        played.comes_back()
    else:
        assert played.process.admit(played.inside[0])
    assert played.process.leave(played.left)
    played.settles()
    played.enters()
    assert not played.comes(), "by one that left there is one place"
    assert all(played.process.admit(inside) for inside in played.inside)


def test_p1_while_who_left_is_back_nobody_more_comes_in(server: Server) -> None:
    played = Played(server, parts())
    played.comes_back()
    played.settles()
    assert not played.comes()


@pytest.mark.parametrize("inside", [2, 3])
def test_p1_one_more_than_that_is_found(server: Server, inside: int) -> None:
    """With two inside the place that who left is given was kept for nobody."""
    played = Played(server, parts(ONE_TOO_MANY), inside=inside)
    played.comes_back()
    assert played.process.leave(played.left)
    played.settles()
    played.enters()
    with pytest.raises(BrokenPromiseError, match="P1: "):
        played.enters()


def test_p1_one_more_beside_who_is_back_is_found(server: Server) -> None:
    played = Played(server, parts(ONE_TOO_MANY))
    played.comes_back()
    played.settles()
    with pytest.raises(BrokenPromiseError, match="P1: "):
        played.enters()
