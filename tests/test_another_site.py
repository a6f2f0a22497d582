"""What a page of another site makes a visitor's browser send takes no number, and nothing of what they may take."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.gates import API, bearer, client_of, comes_in, gated, is_inside, session, takes_number
from tests.sites import site
from tests.test_middleware import HTML
from waitroom.config.settings import Settings

Make = Callable[..., Settings]

FRIEND = "https://app.example"
STRANGER = "https://evil.example"
SENT: list[dict[str, str]] = [
    {
        "Sec-Fetch-Site": "cross-site",
        "Sec-Fetch-Mode": "no-cors",
        "Sec-Fetch-Dest": "empty",
        "Origin": STRANGER,
    },
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "null"},
    {"Origin": STRANGER},
    {"Origin": "null"},
]
LIMIT: dict[str, Any] = {"join_limit": 2, "challenge": "off"}


@pytest.mark.parametrize("sent", SENT)
async def test_a_join_takes_no_number(settings: Make, sent: dict[str, str]) -> None:
    async with gated(site, settings=settings(**LIMIT)) as gate, client_of(gate) as visitor:
        for _ in range(5):
            refused = await visitor.post(f"{API}/join", headers=sent)
            assert (refused.status_code, refused.json()["type"]) == (403, "urn:waitroom:another-site")
            assert "set-cookie" not in refused.headers
        assert (await visitor.get(f"{API}/window")).json()["issued"] == 0
        assert (await visitor.post(f"{API}/join")).status_code == 201


@pytest.mark.parametrize("token", ["rubbish", "t2.1.0.1.x.1.1.y"])
async def test_what_is_no_credential_is_none(settings: Make, token: str) -> None:
    async with gated(site, settings=settings()) as gate, client_of(gate) as visitor:
        refused = await visitor.post(f"{API}/join", headers=SENT[0] | bearer(token))
        assert refused.status_code == 403


async def test_an_origin_that_was_named_joins(settings: Make) -> None:
    mine = settings(cors_origins=FRIEND)
    sent = SENT[0] | {"Origin": FRIEND}
    async with gated(site, settings=mine) as gate, client_of(gate) as visitor:
        assert (await visitor.post(f"{API}/join", headers=sent)).status_code == 201


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {}])
async def test_who_is_of_this_site_or_says_nothing_joins(settings: Make, headers: dict[str, str]) -> None:
    async with gated(site, settings=settings()) as gate, client_of(gate) as visitor:
        assert (await visitor.post(f"{API}/join", headers=headers)).status_code == 201


@pytest.mark.parametrize(
    ("named", "metadata", "status", "is_hinted"),
    [
        ("backend:8000", {}, 403, True),
        ("backend:8000", {"Sec-Fetch-Site": "cross-site"}, 403, False),
        ("backend:8000", {"Sec-Fetch-Site": "same-origin"}, 201, False),
        ("shop.example", {}, 201, False),
    ],
)
async def test_a_page_of_the_site_behind_a_proxy_that_replaces_host_is_told_so(
    settings: Make, named: str, metadata: dict[str, str], status: int, is_hinted: bool
) -> None:
    """As over plain http, where browsers do not say whose page sends a request."""
    headers = {"Host": named, "Origin": "http://shop.example", **metadata}
    async with gated(site, settings=settings()) as gate, client_of(gate) as visitor:
        answer = await visitor.post(f"{API}/join", headers=headers)
        assert answer.status_code == status
        assert ("a proxy in front replaces `Host`" in answer.text) is is_hinted
    async with (
        gated(site, settings=settings(cors_origins="http://shop.example")) as gate,
        client_of(gate) as visitor,
    ):
        assert (
            await visitor.post(f"{API}/join", headers={**headers, "Sec-Fetch-Site": ""})
        ).status_code == 201


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("sent", [SENT[0], SENT[2]])
async def test_requests_of_another_site_use_up_nothing_of_the_visitors_own(
    settings: Make, sent: dict[str, str], method: str
) -> None:
    async with gated(site, settings=settings(**LIMIT)) as gate, client_of(gate) as visitor:
        statuses = [
            (await visitor.request(method, "/checkout", headers=HTML | sent)).status_code for _ in range(6)
        ]
        assert statuses[:2] == [200, 200], "while there is room they are served"
        assert 200 not in statuses[2:], "no header lifts the limit"
        assert not visitor.cookies
        assert is_inside(await comes_in(visitor))


async def test_who_follows_a_link_from_another_site_is_a_visitor_like_any_other(settings: Make) -> None:
    link = HTML | {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    async with gated(site, settings=settings(capacity=1, **LIMIT)) as gate, client_of(gate) as guest:
        await session(guest)
        async with client_of(gate, headers=link) as visitor:
            assert (await takes_number(visitor)).status_code == 503
            assert (await visitor.get(f"{API}/status")).json()["number"] == 2


async def test_who_shows_a_proof_takes_a_number_of_their_own_whatever_they_say(settings: Make) -> None:
    """No page of another site has one to send; so it makes the limit no weaker."""
    mine = settings(capacity=1, **LIMIT)
    numbers = 0
    async with gated(site, settings=mine) as gate:
        async with client_of(gate) as guest:
            await session(guest)  # it is of the same client
        for sent in ({}, SENT[2], SENT[0]):
            for _ in range(3):
                async with client_of(gate) as visitor:
                    await visitor.get("/checkout", headers=HTML)
                    taken = await visitor.get("/checkout", headers=HTML | sent)
                    numbers += (await visitor.get(f"{API}/status")).status_code == 200
                    assert taken.status_code in (429, 503)
    assert numbers == LIMIT["join_limit"] - 1
