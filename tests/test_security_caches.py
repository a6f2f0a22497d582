"""A careless shared cache in front of the gate: nobody ever gets another's page, number or cookie (P4, P8)."""

import random
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from tests.conftest import SECRET
from tests.gates import API, DEADLINE_SECONDS, bearer, page_data, uvicorn
from tests.nginx import cache
from tests.waiting import until
from waitroom.line.tickets import Tokens

# Whatever may be kept is kept, for long, whoever asked for it: errors too, with the cookies that are in it, by the
# address alone, and what is out of date is better than an error. `Cache-Control` is all that it listens to.
CARELESS = """
proxy_http_version 1.1;
proxy_cache_key $request_uri;
proxy_cache_valid 200 202 301 302 401 404 405 429 503 10m;
proxy_cache_valid any 10m;
proxy_ignore_headers Set-Cookie Vary;
proxy_cache_revalidate on;
proxy_cache_use_stale error timeout http_500 http_502 http_503 http_504;
"""


@dataclass
class Someone:
    """A visitor behind the cache, and all that it was given."""

    client: httpx.Client
    seen: list[httpx.Response] = field(default_factory=list)

    def goes(self, method: str, path: str, **headers: str) -> httpx.Response:
        response = self.client.request(method, path, headers=headers)
        self.seen.append(response)
        return response


def fields(response: httpx.Response) -> dict[str, Any]:
    """What an answer in JSON tells; nothing where it is none, or was asked for by HEAD."""
    if not response.content or not response.headers["content-type"].endswith("json"):
        return {}
    told: dict[str, Any] = response.json()
    return told


def ids_given(room: str, someone: Someone) -> set[str]:
    """Whose tokens a visitor was given: in cookies, in headers, in the API's answers."""
    tokens = Tokens([SECRET], room)
    given = [
        cookie.partition("=")[2].partition(";")[0]
        for response in someone.seen
        for cookie in response.headers.get_list("set-cookie")
    ]
    for response in someone.seen:
        given.append(response.headers.get("waitroom-pass", ""))
        given += [fields(response).get(name, "") for name in ("ticket", "pass")]
    return {credential.id for token in given if (credential := tokens.read(token or ""))}


def sessions_seen(someone: Someone) -> set[str]:
    """Whose pages of the site a visitor was shown."""
    return {told["session"] for told in map(fields, someone.seen) if told.get("session")}


def numbers_seen(someone: Someone) -> set[int]:
    found = set()
    for response in someone.seen:
        if 'id="data"' in response.text:
            found.add(page_data(response)["number"])
        else:
            found.add(fields(response).get("number"))
    return found - {None}


VISITORS, INSIDE, ROUNDS = 12, 3, 5
PATHS = ["/", "/goods", "/goods?size=9", "/all", "/all?x=1"]
KINDS = [{"Accept": "text/html"}, {"Accept": "application/json"}, {"Sec-Fetch-Dest": "image"}, {}]


def wanders(someone: Someone, seed: int) -> None:
    """Ask for the same addresses as all the others, as a page, as a script, as an image, and at the API."""
    chance = random.Random(seed)
    for _ in range(ROUNDS):
        for path in chance.sample(PATHS, len(PATHS)):
            someone.goes(chance.choice(["GET", "GET", "HEAD"]), path, **chance.choice(KINDS))
            someone.goes("GET", path, Accept="text/html")
        someone.goes("GET", f"{API}/status")
        someone.goes("GET", f"{API}/window")
        someone.goes("POST", "/goods", Accept="text/html")


@pytest.mark.parametrize("status_code", [503, 200])
def test_nobody_gets_anothers_page_number_or_cookie_from_a_cache(
    store_url: str, room: str, status_code: int
) -> None:
    settings: dict[str, Any] = {
        "redis_url": store_url,
        "secret": SECRET,
        "room": room,
        "capacity": INSIDE + 3,
        "status_code": status_code,
        "session_seconds": 6,  # passes are renewed meanwhile, so that new cookies go out
    }
    with (
        uvicorn("tests.personal:personal_site", arguments=("--factory",), **settings) as gate,
        cache(gate, CARELESS) as front,
        ThreadPoolExecutor(VISITORS) as together,
    ):
        visitors = [
            Someone(httpx.Client(base_url=front.url, timeout=DEADLINE_SECONDS)) for _ in range(VISITORS)
        ]
        try:
            for someone in visitors[:INSIDE]:
                someone.goes(
                    "GET", "/all"
                )  # the first to come: with the page, which all may have, comes the pass
                until(lambda someone=someone: '"inside"' in someone.goes("GET", "/").text)  # type: ignore[misc]
            list(together.map(wanders, visitors, range(VISITORS)))
            leaves(visitors[0])
            list(together.map(wanders, visitors[1:], range(VISITORS)))
        finally:
            for someone in visitors:
                someone.client.close()
    all_is_ones_own(room, visitors)
    the_cache_was_in_force(visitors)


def leaves(someone: Someone) -> None:
    """Go, by a token alone; what the cache has of it is of no use to anybody."""
    ((_, token),) = someone.client.cookies.items()
    someone.goes("DELETE", f"{API}/ticket", **bearer(token))
    someone.client.cookies.clear()
    assert someone.goes("GET", f"{API}/status").status_code == 401


def all_is_ones_own(room: str, visitors: list[Someone]) -> None:
    owners: dict[str, set[int]] = defaultdict(set)
    for number, someone in enumerate(visitors):
        for id in ids_given(room, someone) | sessions_seen(someone):
            owners[id].add(number)
    assert len(owners) >= VISITORS
    assert {id: who for id, who in owners.items() if len(who) > 1} == {}
    held = Counter(number for someone in visitors for number in numbers_seen(someone))
    assert len(held) >= VISITORS
    assert {number for number, holders in held.items() if holders > 1} == set()


def the_cache_was_in_force(visitors: list[Someone]) -> None:
    """It has kept what is everybody's, and of the rest nothing."""
    kept = [one for someone in visitors for one in someone.seen if one.headers.get("x-cache") == "HIT"]
    paths = {one.request.url.path for one in kept}
    assert paths == {"/all", f"{API}/window"}
    assert not [one for one in kept if "set-cookie" in one.headers]
    assert not [one for one in kept if 'id="data"' in one.text]
