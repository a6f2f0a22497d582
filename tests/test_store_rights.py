"""A user of the store with the rights that docs/stores.md names: they do, and none of them is superfluous."""

import re
import shlex
from pathlib import Path

import pytest
import redis

from tests import stores
from tests.conftest import SECRET
from tests.rooms import Line
from waitroom.config.settings import load
from waitroom.config.store_url import parse
from waitroom.errors import StoreUnusableError
from waitroom.store.transitions import Store

DOCUMENTED, IN_CLUSTERS, OF_SENTINELS = (
    shlex.split(line)
    for line in re.findall(
        r"^ACL SETUSER .+$",
        Path(__file__).parent.with_name("docs").joinpath("stores.md").read_text(),
        re.MULTILINE,
    )
)
PASSWORD = "password"
USER = "waitroom"


def make_user(url: str, *lines: list[str], without: str = "") -> str:
    """Make the user on every server of a store as the lines say; answers the URL to come by."""
    told = [USER, "reset"] + [word for line in lines for word in line[3:] if word != without]
    assert not without or len(told) == sum(len(line) - 3 for line in lines) + 1
    with stores.admin(url) as admin:
        everywhere = {"target_nodes": "all"} if parse(url).kind == "cluster" else {}
        admin.execute_command("ACL SETUSER", *told, **everywhere)
        admin.script_flush()  # what other users have brought would do for this one
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{USER}:{PASSWORD}@{rest.rpartition('@')[2]}"


def lines_for(url: str) -> list[list[str]]:
    return [DOCUMENTED, IN_CLUSTERS] if parse(url).kind == "cluster" else [DOCUMENTED]


async def live(url: str, room: str) -> None:
    """Do all that is ever done in a room; each script goes through each of its branches that asks for a right."""
    limits = {"capacity": 2, "window_size": 2, "window_interval": 10, "active_window_count": 10}
    settings = load(redis_url=url, secret=SECRET, room=room, claim_seconds=20, **limits)
    by_its_own_clock = Store(url, settings)
    shop = Line(url, settings, stores=[by_its_own_clock])
    try:
        shop.clock.now = (await by_its_own_clock.sync(-1))[0].at * 1000
        await by_its_own_clock.clock()
        assert await shop.store.spend("pad", 1, 1) is None
        shop.clock.advance(2)
        assert await shop.store.spend("pad", 1, 1) is None
        one = await shop.first()
        await shop.renew(one)
        (two,) = await shop.enter(1)
        three, four = await shop.tickets(2)
        await shop.leave(one)
        assert (await shop.ended()).keys() == {one.id}
        for seconds, called in ((11, three), (21, four)):
            shop.clock.advance(seconds)
            assert (await shop.look()).called == called.number
        assert await shop.claim(four, three) == ["active", "door"]
        assert (await shop.store.look())["at_the_door"] == 1
        await shop.leave(two, four)
        assert await shop.claim(three) == ["active"]
        shop.clock.advance(101)
        assert (await shop.look()).floor == four.number
    finally:
        await shop.close()


@pytest.fixture
def url(every_store_url: str) -> str:
    return every_store_url


on_the_cluster = pytest.mark.parametrize("every_store_url", ["cluster"], indirect=True)
on_sentinels = pytest.mark.parametrize("every_store_url", ["sentinel"], indirect=True)


async def refused(url: str, room: str) -> str:
    with pytest.raises(StoreUnusableError) as raised:
        await live(url, room)
    assert "\n" not in str(raised.value)
    assert PASSWORD not in str(raised.value)
    return str(raised.value)


async def test_the_documented_rights_are_enough(url: str, room: str) -> None:
    await live(make_user(url, *lines_for(url)), room)


@pytest.mark.parametrize("right", [word for word in DOCUMENTED if word.startswith("+") and word != "+info"])
async def test_no_documented_right_is_superfluous(any_store_url: str, room: str, right: str) -> None:
    said = await refused(make_user(any_store_url, DOCUMENTED, without=right), room)
    assert said.startswith(f"the store at {any_store_url} doesn't let this user do what it must: ")
    assert f"'{right[1:]}'" in said
    assert "docs/stores.md" in said


async def test_a_right_that_is_taken_away_later_is_named_too(any_store_url: str, room: str) -> None:
    url = make_user(any_store_url, DOCUMENTED)
    store = Store(url, load(redis_url=url, secret=SECRET, room=room))
    await store.sync(-1)
    make_user(any_store_url, DOCUMENTED, without="+zadd")
    with pytest.raises(StoreUnusableError, match="'zadd'"):
        await store.join([("enter", "someone")])
    await store.close()


async def test_other_keys_do_not_do(any_store_url: str, room: str) -> None:
    lines = [*DOCUMENTED, "resetkeys", "~other:*"]
    assert "ermissions to access" in await refused(make_user(any_store_url, lines), room)


async def test_without_the_right_to_info_a_store_is_taken_as_it_is(url: str, room: str) -> None:
    url = make_user(url, *lines_for(url), without="+info")
    await live(url, room)
    store = Store(url, load(redis_url=url, secret=SECRET, room=room))
    assert await store.facts() == (None, None, None, None)
    await store.close()


@on_the_cluster
@pytest.mark.parametrize("right", ["+cluster|slots", "+command"])
async def test_in_a_cluster_its_own_rights_are_needed(url: str, room: str, right: str) -> None:
    said = await refused(make_user(url, DOCUMENTED, IN_CLUSTERS, without=right), room)
    assert f"'{right[1:]}'" in said


@on_sentinels
async def test_the_sentinels_user_needs_one_right(url: str, room: str) -> None:
    theirs = f"sentinel_username={USER}&sentinel_password={PASSWORD}"
    mine = f"{make_user(url, DOCUMENTED).partition('?')[0]}?{theirs}"
    for _, port in parse(url).addresses:
        tell_sentinel(port, OF_SENTINELS[2:])
    await live(mine, room)
    for _, port in parse(url).addresses:
        tell_sentinel(port, [USER, "-@all"])
    assert "'sentinel|masters'" in await refused(mine, room)


def tell_sentinel(port: int, rights: list[str]) -> None:
    with redis.Redis(stores.LOOPBACK, port, password=stores.SENTINEL_PASSWORD) as client:
        client.execute_command("ACL SETUSER", *rights)
