"""What a visitor carries: read back as it was signed, and nothing else is believed (P8)."""

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from dataclasses import MISSING, astuple, fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import Signer

from waitroom.line.tickets import (
    HIGHEST_NUMBER,
    LONGEST_TOKEN,
    Credential,
    Pass,
    Proof,
    Ticket,
    Tokens,
    _Hmac,
    looks_like_token,
    new_id,
    pass_of,
)

OLD, NEW, FOREIGN = "the older key, 32 characters long", "the newer key, 32 characters long", "f" * 32
TOKENS = Tokens([NEW], "shop")
EPOCH = "0001760000000000-0a1b2c"

TICKET = Ticket(1, EPOCH, 42, "an-id_16-letters", 1_760_000_000_123, 7, missed=True)
PASS = Pass(1, EPOCH, 42, "an-id_16-letters", 1_760_000_000_123, 1_760_000_060_123, 60_000, 9_000, first=True)
PROOF = Proof("an-id_16-letters", 1_760_000_000_123, missed=True)

ids = st.binary(min_size=16, max_size=16).map(lambda bits: urlsafe_b64encode(bits).decode().rstrip("="))
times = st.integers(0, 10**13)
numbers = st.integers(1, HIGHEST_NUMBER)
spans = st.integers(0, 10**11)
generations = st.integers(1, 10**6)
tickets = st.builds(Ticket, generations, st.just(EPOCH), numbers, ids, times, numbers, st.booleans())
passes = st.builds(
    Pass, generations, st.just(EPOCH), numbers, ids, times, times, spans, spans, first=st.booleans()
)
proofs = st.builds(Proof, ids, times, st.booleans())
credentials = tickets | passes | proofs


def signed(payload: str | bytes, kind: str = "ticket", room: str = "shop", key: str = NEW) -> str:
    """Sign any payload as another version might have done."""
    signer = Signer(key, salt=f"waitroom.{kind}.{room}", key_derivation="hmac", digest_method=hashlib.sha256)
    return signer.sign(payload).decode("latin-1")


def payload(credential: Credential, *changed: tuple[int, Any]) -> list[str]:
    """Write a credential's fields as a token does, some of them changed."""
    texts = [str(int(value)) if isinstance(value, bool) else str(value) for value in astuple(credential)]
    for at, value in changed:
        texts[at] = str(value)
    return texts


# --- what was signed ---------------------------------------------------------------------------


@given(credentials)
def test_a_credential_is_read_back_as_it_was_signed(credential: Credential) -> None:
    assert TOKENS.read(TOKENS.sign(credential)) == credential


@given(credentials)
def test_a_token_fits_into_cookies_headers_and_urls(credential: Credential) -> None:
    token = TOKENS.sign(credential)
    assert re.fullmatch(r"[A-Za-z0-9._-]+", token)
    assert len(token) <= LONGEST_TOKEN


@pytest.mark.parametrize(
    ("token", "credential"),
    [
        (
            "ti.1.0001760000000000-0a1b2c.42.an-id_16-letters.1760000000123.7.1"
            ".Kuo_wh_7XJnVpI6XteCrZLV6tepwEeycqnZWkbDfJ_I",
            TICKET,
        ),
        (
            "pa.1.0001760000000000-0a1b2c.42.an-id_16-letters.1760000000123.1760000060123.60000.9000.1"
            ".afDDLDgHjbBBxxFvplSgWzbpIXkrW13aJDsvW1POQpI",
            PASS,
        ),
        ("pr.an-id_16-letters.1760000000123.1.tNuRObcYTjrwXphpg5C1lAEYRTD0O_p6jMG9IrKFloQ", PROOF),
    ],
)
def test_what_visitors_hold_already_stays_readable(token: str, credential: Credential) -> None:
    assert Tokens([NEW], "shop").read(token) == credential


@given(credentials)
def test_a_token_is_known_by_its_form(credential: Credential) -> None:
    assert looks_like_token(TOKENS.sign(credential).encode())


@pytest.mark.parametrize(
    ("text", "looks"),
    [
        (b"", False),
        (b"ti", False),
        (b"ti.1.2.3", False),
        (b"ti.1.2.3.4", True),
        (b"TI.1.2.3.4", False),
        (b"eyJh.1.2.3.4", False),
        (b"\xff\xfe.1.2.3.4", False),
        (b"ti.1.2.3." + b"4" * (LONGEST_TOKEN - 9), True),
        (b"ti.1.2.3." + b"4" * (LONGEST_TOKEN - 8), False),
    ],
)
def test_what_has_not_the_form_of_a_token_is_none(text: bytes, looks: bool) -> None:
    assert looks_like_token(text) is looks


def test_a_ticket_is_exchanged_for_a_pass_with_its_place_and_its_id() -> None:
    entered_at, expires_at = TICKET.issued_at + 9_000, TICKET.issued_at + 69_000
    session = pass_of(TICKET, entered_at, expires_at, 60_000)
    assert (session.generation, session.epoch, session.number) == (1, EPOCH, 42)
    assert session.id == TICKET.id
    assert (session.entered_at, session.expires_at) == (entered_at, expires_at)
    assert (session.lease_ms, session.waited_ms, session.first) == (60_000, 9_000, False)
    assert pass_of(TICKET, entered_at, expires_at, 60_000, True) == replace(session, first=True)


def test_a_session_is_known_in_the_epoch_of_its_number_until_another_confirms_it() -> None:
    assert PASS.known_in == EPOCH
    assert replace(PASS, confirmed="0001760000000001-0a1b2c").known_in == "0001760000000001-0a1b2c"


def test_nobody_has_waited_less_than_no_time() -> None:
    # The ticket and the entry may have been stamped by two stores.
    for early, waited in ((-5, 0), (0, 0), (1, 1)):
        assert pass_of(TICKET, TICKET.issued_at + early, 0, 0).waited_ms == waited


def test_what_has_a_default_may_be_left_out() -> None:
    assert not Ticket(1, EPOCH, 1, "id", 0, 0).missed
    assert not Pass(1, EPOCH, 1, "id", 0, 0, 0, 0).first
    assert not Proof("id", 0).missed


def test_ids_are_long_and_never_twice_the_same() -> None:
    made = {new_id() for _ in range(10_000)}
    assert len(made) == 10_000
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{22}", id) for id in made)


# --- what was not ------------------------------------------------------------------------------


@given(credentials, st.data())
def test_p8_a_tampered_byte_is_never_another_credential(credential: Credential, data: st.DataObject) -> None:
    token = TOKENS.sign(credential)
    at = data.draw(st.integers(0, len(token) - 1))
    byte = data.draw(st.characters(max_codepoint=255).filter(lambda char: char != token[at]))
    read = TOKENS.read(token[:at] + byte + token[at + 1 :])
    if at <= token.rindex("."):
        assert read is None
    else:
        # Other spellings of a signature exist: its last letter has two bits to spare, and two have a double.
        is_spelling = at == len(token) - 1 or token[at] + byte in ("-+", "_/")
        assert read is None or (is_spelling and read == credential)


@given(credentials, st.data())
def test_p8_an_added_byte_never_makes_another_credential(credential: Credential, data: st.DataObject) -> None:
    token = TOKENS.sign(credential)
    at = data.draw(st.integers(0, len(token)))
    byte = data.draw(st.characters(max_codepoint=255))
    read = TOKENS.read(token[:at] + byte + token[at:])
    # What is no letter of a signature's alphabet is skipped there.
    assert read is None or (at > token.rindex(".") and read == credential)


@given(credentials, st.data())
def test_p8_a_truncated_token_is_void(credential: Credential, data: st.DataObject) -> None:
    token = TOKENS.sign(credential)
    assert TOKENS.read(token[: data.draw(st.integers(0, len(token) - 1))]) is None
    assert TOKENS.read(token[data.draw(st.integers(1, len(token))) :]) is None


@given(st.text() | st.text(st.characters(max_codepoint=127)).map("ti.1.{}".format))
def test_p8_arbitrary_text_is_void_and_raises_nothing(text: str) -> None:
    assert TOKENS.read(text) is None


@pytest.mark.parametrize(
    "token",
    [
        "",
        "ti",
        "ti.",
        "ti..",
        "xx.1.2",
        ".",
        "\x00" * 64,
        "ti." + "1" * 70_000,
        "ti.\ud800.x",
        "ti.é.x",
        "ti.1\u0661.x",
    ],
)
def test_p8_malformed_tokens_are_void(token: str) -> None:
    assert TOKENS.read(token) is None


@given(credentials)
def test_p8_another_rooms_token_is_void(credential: Credential) -> None:
    assert Tokens([NEW], "shop2").read(TOKENS.sign(credential)) is None


@given(credentials)
def test_p8_another_sites_token_is_void(credential: Credential) -> None:
    assert TOKENS.read(Tokens([FOREIGN], "shop").sign(credential)) is None


@given(credentials, st.sampled_from(["ti", "pa", "pr"]))
def test_p8_one_kind_is_never_taken_for_another(credential: Credential, prefix: str) -> None:
    token = TOKENS.sign(credential)
    read = TOKENS.read(prefix + token[2:])
    assert read == (credential if token.startswith(prefix) else None)


@pytest.mark.parametrize(
    ("kind", "prefix", "written"), [("pass", "ti", TICKET), ("ticket", "pa", PASS), ("proof", "pa", PASS)]
)
def test_p8_the_key_of_one_kind_does_not_sign_another(kind: str, prefix: str, written: Credential) -> None:
    assert TOKENS.read(signed(".".join((prefix, *payload(written))), kind)) is None


@given(credentials)
def test_p8_oversized_tokens_are_dropped_whatever_they_hold(credential: Credential) -> None:
    token = signed(
        ".".join((credential.KIND[:2], *payload(credential), "9" * LONGEST_TOKEN)), credential.KIND
    )
    assert TOKENS.read(token) is None


def test_a_token_of_the_longest_length_is_read() -> None:
    text = ".".join(("ti", *payload(TICKET), "more"))
    text += "x" * (LONGEST_TOKEN - len(signed(text)))
    assert len(signed(text)) == LONGEST_TOKEN
    assert TOKENS.read(signed(text)) == TICKET
    assert TOKENS.read(signed(text + "x")) is None


@pytest.mark.parametrize("number", [0, -1, HIGHEST_NUMBER + 1, 2**64, "9" * 60])
def test_p8_numbers_that_no_line_has_are_void(number: int | str) -> None:
    assert TOKENS.read(signed(".".join(("ti", *payload(TICKET, (2, number)))))) is None
    assert TOKENS.read(signed(".".join(("pa", *payload(PASS, (2, number)))), "pass")) is None


def test_the_largest_number_is_still_one() -> None:
    largest = replace(TICKET, number=HIGHEST_NUMBER)
    assert TOKENS.read(TOKENS.sign(largest)) == largest


# --- keys that change --------------------------------------------------------------------------


@given(credentials)
def test_the_newest_key_signs_and_each_verifies(credential: Credential) -> None:
    before, during, after = Tokens([OLD], "shop"), Tokens([NEW, OLD], "shop"), Tokens([NEW], "shop")
    assert during.read(before.sign(credential)) == credential
    assert during.sign(credential) == after.sign(credential)
    assert after.read(before.sign(credential)) is None


# --- other versions ----------------------------------------------------------------------------


def test_p8_only_what_was_verified_is_remembered_and_only_so_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("waitroom.line.tickets.MOST_VERIFIED", 3)
    mine, theirs = Tokens(["k" * 32], "shop"), Tokens(["o" * 32], "shop")
    signed = [mine.sign(replace(TICKET, number=at + 1)) for at in range(5)]
    for token in signed:
        assert mine.remembered(token) is None
        assert mine.read(token) is mine.remembered(token) is not None
        assert mine.read(token) is mine.remembered(token), "as it was read before"
        assert mine.read(theirs.sign(TICKET)) is None
        assert mine.read(mine.sign(PROOF)) == PROOF
    assert [mine.remembered(token) is not None for token in signed] == [False, False, True, True, True]
    assert mine.read(signed[0]) is not None, "one that was forgotten is verified again"


@pytest.mark.parametrize("credential", [TICKET, PASS, PROOF])
def test_what_an_older_version_did_not_write_has_its_default(credential: Credential) -> None:
    older = signed(".".join((credential.KIND[:2], *payload(credential)[:-1])), credential.KIND)
    assert TOKENS.read(older) == type(credential)(*astuple(credential)[:-1])


@pytest.mark.parametrize("credential", [TICKET, PASS, PROOF])
def test_what_a_newer_version_adds_is_ignored(credential: Credential) -> None:
    newer = signed(".".join((credential.KIND[:2], *payload(credential), "more", "0")), credential.KIND)
    assert TOKENS.read(newer) == credential


@pytest.mark.parametrize("credential", [TICKET, PASS, PROOF])
def test_what_has_too_few_fields_is_void(credential: Credential) -> None:
    needed = [field for field in fields(credential) if field.default is MISSING]
    for length in range(len(needed)):
        shorter = signed(".".join((credential.KIND[:2], *payload(credential)[:length])), credential.KIND)
        assert TOKENS.read(shorter) is None


@pytest.mark.parametrize("made", [TICKET, PASS])
def test_the_highest_number_is_believed_and_no_higher_one(made: Ticket | Pass) -> None:
    tokens = Tokens([NEW], "shop")
    highest = replace(made, number=HIGHEST_NUMBER)
    assert tokens.read(tokens.sign(highest)) == highest
    assert tokens.read(tokens.sign(replace(made, number=HIGHEST_NUMBER + 1))) is None


def test_the_longest_token_is_read_and_no_longer_one() -> None:
    tokens = Tokens([NEW], "shop")
    longest = replace(PROOF, id=PROOF.id + "x" * (LONGEST_TOKEN - len(tokens.sign(PROOF))))
    assert len(tokens.sign(longest)) == LONGEST_TOKEN
    assert tokens.read(tokens.sign(longest)) == longest
    assert tokens.read(tokens.sign(replace(longest, id=longest.id + "x"))) is None


@pytest.mark.parametrize("length", [1, 32, 64])
def test_a_signature_is_an_hmac(length: int) -> None:
    key = b"k" * length
    assert _Hmac([key]).get_signature(key, b"value") == hmac.digest(key, b"value", "sha256")


def test_a_key_longer_than_a_block_is_not_taken_for_another() -> None:
    with pytest.raises(ValueError, match=r"^a longer key is to be hashed first$"):
        _Hmac([b"k" * 65])


def test_what_should_be_a_number_and_is_none_is_void() -> None:
    assert TOKENS.read(signed(".".join(("ti", *payload(TICKET, (0, "one")))))) is None


def test_signed_bytes_that_are_no_text_are_void() -> None:
    # Never in a header that is ASCII, but whoever holds a key may have signed them.
    assert TOKENS.read(signed(b"ti.\xff")) is None


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=80))
def test_whatever_a_holder_of_the_key_signs_raises_nothing(text: str) -> None:
    for kind in ("ticket", "pass", "proof"):
        TOKENS.read(signed(kind[:2] + text, kind))
