"""Attacks on tokens: parts of several put together, signatures written otherwise, copies, and time (P5, P8)."""

import inspect
import itertools
import string
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import Signer
from itsdangerous.signer import SigningAlgorithm

from tests.conftest import SECRET
from tests.gates import API, bearer, client_of, gated
from tests.sites import site
from tests.test_tickets import PASS, PROOF, TICKET, TOKENS, credentials
from waitroom.config.settings import Settings, load
from waitroom.line import tickets
from waitroom.line.tickets import HIGHEST_NUMBER, Credential, Pass, Proof, Ticket, Tokens, new_id
from waitroom.web.middleware import WaitingRoomMiddleware
from waitroom.web.requests.cookies import Cookies

pytestmark = pytest.mark.usefixtures("patience")

Make = Callable[..., Settings]

BASE64 = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"


# -- put together of several ----------------------------------------------------------------------


@given(credentials, credentials, st.data())
def test_p8_a_field_of_another_token_makes_no_third_one(
    one: Credential, other: Credential, data: st.DataObject
) -> None:
    """Whichever parts two valid tokens swap, kind and signature among them: it is one of the two, or void."""
    first, second = (TOKENS.sign(credential).split(".") for credential in (one, other))
    taken = data.draw(st.sets(st.integers(0, len(first) - 1)))
    spliced = [second[at] if at in taken and at < len(second) else part for at, part in enumerate(first)]
    assert TOKENS.read(".".join(spliced)) in (one, other, None)
    assert TOKENS.read(".".join([*first[:-1], second[-1]])) in ((one, other) if first == second else (None,))


def test_p8_each_room_and_kind_signs_with_a_key_of_its_own() -> None:
    """Also where one room's name begins another's, or ends in a kind's."""
    rooms = ("shop", "shop-2", "ticket", "pass", "shop-pass", "SHOP")
    keys = [
        signer.derive_key() for room in rooms for signer in Tokens([SECRET, "k" * 40], room)._signers.values()
    ]
    assert len(set(keys)) == len(keys) == 3 * len(rooms)
    carried: tuple[Credential, ...] = (TICKET, PASS, PROOF)
    for room, credential in itertools.product(rooms, carried):
        tokens = Tokens([SECRET], room)
        token = tokens.sign(credential)
        assert [name for name in rooms if Tokens([SECRET], name).read(token)] == [room]
        for prefix in {"ti", "pa", "pr"} - {token[:2]}:
            assert tokens.read(prefix + token[2:]) is None


# -- written otherwise ----------------------------------------------------------------------------


def spellings(token: str) -> list[str]:
    """Texts that a decoder of base64 takes for the same: other unused bits, padding, the other alphabet, and what it
    passes over.
    """
    payload, _, signature = token.rpartition(".")
    last = BASE64.index(signature[-1])
    texts = [f"{payload}.{signature[:-1]}{BASE64[last ^ bits]}" for bits in (1, 2, 3)]
    texts += [f"{token}=", f"{token}====", f"{token}\n", f"{payload}.{signature[:7]}!!!!{signature[7:]}"]
    texts += [
        f"{payload}.{changed}" for changed in (signature.replace("-", "+"), signature.replace("_", "/"))
    ]
    return [text for text in texts if text != token]


@given(credentials)
def test_p5_a_credential_is_written_in_one_way(credential: Credential) -> None:
    """Else one of them could fill what a process remembers of all."""
    tokens = Tokens([SECRET], "shop")
    token = tokens.sign(credential)
    assert [text for text in spellings(token) if tokens.read(text)] == []
    assert tokens.read(token) == credential
    assert list(tokens._verified) == ([] if isinstance(credential, Proof) else [token])


async def claims(gate: WaitingRoomMiddleware, token: str) -> dict[str, Any]:
    """Ask with a token alone, as somebody who keeps it and no cookies."""
    async with client_of(gate) as client:
        return of(await client.get(f"{API}/status", headers=bearer(token)))


def of(response: httpx.Response) -> dict[str, Any]:
    told: dict[str, Any] = response.json()
    return told


# -- collected for later --------------------------------------------------------------------------


async def test_p8_tickets_that_were_collected_open_no_more_than_one_session_each_and_in_turn(
    settings: Make,
) -> None:
    """Who took twenty numbers has twenty places in line, none of them nearer, and none for after it."""
    async with gated(site, settings=settings(capacity=2)) as gate, client_of(gate) as client:

        async def takes() -> str:
            client.cookies.clear()
            return str(of(await client.post(f"{API}/join"))["ticket"])

        collected = [await takes() for _ in range(20)]
        told = [await claims(gate, ticket) for ticket in collected]
        assert [one["status"] for one in told] == ["active"] * 2 + ["waiting"] * 18
        assert [one["ahead"] for one in told[2:]] == list(range(18))
        client.cookies.clear()
        for entered in told[:2]:
            await client.delete(f"{API}/ticket", headers=bearer(entered["pass"]))
        again = [await claims(gate, ticket) for ticket in collected]
        assert [one["status"] for one in again[:2]] == ["expired"] * 2, "used is used"
        assert of(await client.get(f"{API}/window"))["inside"] <= 2


# -- time and size --------------------------------------------------------------------------------


def test_signatures_are_compared_by_the_library_in_constant_time() -> None:
    """What is compared with a secret is compared there, and nowhere else."""
    assert "hmac.compare_digest" in inspect.getsource(SigningAlgorithm.verify_signature)
    for signer in Tokens([SECRET], "shop")._signers.values():
        assert type(signer) is Signer
        assert type(signer.algorithm).verify_signature is SigningAlgorithm.verify_signature
    source = inspect.getsource(tickets)
    assert "compare_digest" not in source
    assert "hmac." not in source
    assert "signature ==" not in source


def test_the_longest_cookie_fits_into_a_browser() -> None:
    """4,096 bytes of name and value (RFC 6265, 6.1), in the year 5138, a million resets from now."""
    number, time, span, id, room = HIGHEST_NUMBER, 10**14, 10**12, new_id(), "r" * 40
    early, late = f"{1:016}-abcdef", f"{10**15:016}-abcdef"
    made: list[Credential] = [
        Pass(10**6, early, number, id, time, time, span, span, first=True, confirmed=late),
        Ticket(10**6, late, number, id, time, number, missed=True),
    ]
    keep = Cookies(load(room=room, cookie_name="n" * 40))
    scope = {"scheme": "https", "headers": []}
    for credential in made:
        token = Tokens([SECRET], room).sign(credential)
        assert len(token) <= tickets.LONGEST_TOKEN
        assert Tokens([SECRET], room).read(token) == credential
        pair = keep.set(scope, token, credential)[1].partition(b";")[0]
        assert pair.startswith(b"__Host-")
        assert len(pair) < 4096
