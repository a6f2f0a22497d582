"""Store and processes are gone together: what is left of the line is in its visitors' cookies."""

from contextlib import ExitStack
from pathlib import Path

from tests.gates import Server
from tests.shops import all_live, serving, staying
from tests.stores import Box
from tests.witnesses import crowd_at, recording

SHORT = {"capacity": 2, "active_window_count": 6, "session_seconds": 30, "claim_seconds": 6}
"""Everybody who waits looks again within 2 seconds: so long the room settles."""


class Site:
    """One box with a store and one with a server."""

    def __init__(self, folder: Path) -> None:
        self.box = Box(folder)
        self._running = ExitStack()
        self.server: Server

    def __enter__(self) -> "Site":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()
        self.box.stop()

    def start(self) -> None:
        self.box.start()
        self.server = self._running.enter_context(serving(redis_url=self.box.url, **SHORT))

    def kill(self) -> None:
        self.server.process.kill()
        self.box.kill()
        self._running.close()


async def test_p1_p3_p4_p6_a_ticket_is_the_first_to_come(tmp_path: Path) -> None:
    record = recording(tmp_path)
    with Site(tmp_path) as site:
        async with crowd_at([site.server.url], record) as crowd:
            guests = await crowd.takes_numbers(2, "guest")
            before = await crowd.takes_numbers(3, "before")
            site.kill()
            site.start()
            crowd.urls = [site.server.url]
            await before[1].look()
            assert (await crowd.window())["state"] == "settling"
            early = await crowd.takes_numbers(2, "early")
            assert {visitor.kind for visitor in early} == {"waiting"}, "P1: as many as may be could be inside"
            assert before[1].rank
            assert min(visitor.rank for visitor in early if visitor.rank) > before[1].rank
            async with staying(guests[0]), staying(guests[1]):
                for visitor in (before[2], before[0]):
                    await visitor.look()
                assert (await crowd.becomes("queueing"))["waiting"] == 5
            await all_live(*before, *early)
            crowd.check_capacity(2)
            crowd.check_order(2)
            crowd.check_places()
            crowd.check_window()


async def test_p3_p4_p6_a_newcomer_is_the_first_to_come(tmp_path: Path) -> None:
    """Nobody can tell then that there was a line, until its first ticket comes."""
    record = recording(tmp_path)
    with Site(tmp_path) as site:
        async with crowd_at([site.server.url], record) as crowd:
            guests = await crowd.takes_numbers(2, "guest")
            before = await crowd.takes_numbers(3, "before")
            site.kill()
            site.start()
            crowd.urls = [site.server.url]
            (newcomer,) = await crowd.takes_numbers(1, "newcomer")
            assert newcomer.inside
            await before[1].look()
            assert before[1].kind == "waiting"
            assert (await crowd.window())["state"] == "settling"
            early = await crowd.takes_numbers(2, "early")
            assert {visitor.kind for visitor in early} == {"waiting"}
            async with staying(newcomer), staying(guests[0]), staying(guests[1]):
                for visitor in (before[2], before[0]):
                    await visitor.look()
                told = await crowd.becomes("queueing")
                assert (told["waiting"], told["inside"]) == (5, 3)
            await all_live(*before, *early)
            crowd.check_capacity(3)
            crowd.check_order(2, besides=newcomer)
            crowd.check_places()
            crowd.check_window()
