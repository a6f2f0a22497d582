"""The gate's credentials as HTTP carries them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waitroom.config.settings import load
from waitroom.line.tickets import LONGEST_TOKEN, Credential, Pass, Proof, Ticket
from waitroom.web.requests.cookies import MOST_COOKIES, Cookies, Scope, Stripper

TICKET = Ticket(1, "e", 1, "id", 0, 0)
PASS = Pass(1, "e", 1, "id", 0, 100_000, 300_000, 0)
PROOF = Proof("id", 0)


def cookies(**keywords: Any) -> Cookies:
    return Cookies(load(room="shop", session_seconds=300, **keywords))


def scope(*headers: tuple[str, str], scheme: str = "http") -> Scope:
    return {
        "scheme": scheme,
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
    }


def set_cookie(scheme: str = "http", credential: Credential = TICKET, **keywords: Any) -> list[str]:
    name, value = cookies(**keywords).set(scope(scheme=scheme), "token", credential)
    assert name == b"set-cookie"
    return value.decode().split("; ")


def test_over_http_the_cookie_is_plain() -> None:
    assert set_cookie() == ["waitroom-shop=token", "Path=/", "Max-Age=2592000", "HttpOnly", "SameSite=Lax"]


@pytest.mark.parametrize("scheme", ["https", "wss"])
def test_over_https_the_cookie_is_secure_and_of_this_host_alone(scheme: str) -> None:
    expected = [
        "__Host-waitroom-shop=token",
        "Path=/",
        "Max-Age=2592000",
        "HttpOnly",
        "SameSite=Lax",
        "Secure",
    ]
    assert set_cookie(scheme) == expected


def test_secure_always_and_never_overrule_the_scheme() -> None:
    assert set_cookie("http", cookie_secure="always") == set_cookie("https")
    assert set_cookie("https", cookie_secure="never") == set_cookie("http")


def test_samesite_none_is_lax_where_browsers_would_drop_it() -> None:
    assert "SameSite=None" in set_cookie("https", cookie_samesite="none")
    assert "SameSite=Lax" in set_cookie("http", cookie_samesite="none")
    assert "SameSite=Strict" in set_cookie("http", cookie_samesite="strict")


def test_the_samesite_is_told_as_it_is_set() -> None:
    none = cookies(cookie_samesite="none")
    assert none.samesite(scope(scheme="https")) == "none"
    assert none.samesite(scope(scheme="http")) == "lax"
    assert cookies(cookie_samesite="strict").samesite(scope()) == "strict"


def test_a_domain_rules_out_the_host_prefix() -> None:
    parts = set_cookie("https", cookie_domain="shop.test", cookie_name="line")
    assert parts[0] == "line-shop=token"
    assert parts[-2:] == ["Secure", "Domain=shop.test"]


def test_the_cookie_lives_as_long_as_it_is_of_use() -> None:
    """P6: a pass is kept past its end: an open socket may have renewed it, and the store may be away."""
    assert "Max-Age=600" in set_cookie(credential=PROOF)
    assert "Max-Age=2592000" in set_cookie(credential=PASS)


def test_clearing_takes_the_very_cookie_away() -> None:
    assert cookies().clear(scope(scheme="https")) == (
        b"set-cookie",
        b"__Host-waitroom-shop=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure",
    )


def test_tokens_come_from_the_cookie_the_header_and_the_bearer() -> None:
    asked = scope(
        ("cookie", 'a=1; waitroom-shop="ti.1.2.3.4"; xwaitroom-shop=ti.n.o.n.o'),
        ("cookie", " waitroom-shop = pr.1.2.3.4"),
        ("waitroom-pass", " pa.1.2.3.4 "),
        ("authorization", "bEaReR  pa.5.6.7.8"),
        ("authorization", "Basic pa.1.2.3.5"),
        ("x-other", "pa.1.2.3.6"),
    )
    assert cookies().tokens(asked) == ["ti.1.2.3.4", "pr.1.2.3.4", "pa.1.2.3.4", "pa.5.6.7.8"]


def test_each_scheme_reads_its_own_cookie() -> None:
    """Over https only what was set over https counts: a neighbour on plain http could have set the other."""
    both = ("cookie", "waitroom-shop=ti.p.l.a.in; __Host-waitroom-shop=ti.s.a.f.e")
    assert cookies().tokens(scope(both)) == ["ti.p.l.a.in"]
    assert cookies().tokens(scope(both, scheme="https")) == ["ti.s.a.f.e"]


def test_p8_what_cannot_be_a_token_is_dropped_and_takes_no_turn_from_the_rest() -> None:
    huge = "; ".join(f"waitroom-shop=ti.1.2.3.{'x' * 70_000}" for _ in range(MOST_COOKIES))
    junk = "; ".join(f"waitroom-shop=junk{n}" for n in range(1000))
    right = "ti.1.2.3." + "y" * (LONGEST_TOKEN - 9)
    asked = scope(("cookie", huge), ("cookie", junk), ("cookie", f"waitroom-shop={right}"))
    assert cookies().tokens(asked) == [right]


def test_p8_only_so_many_are_looked_at_and_each_once() -> None:
    many = ("cookie", "; ".join(f"waitroom-shop=ti.1.2.3.{n // 2}" for n in range(100)))
    assert cookies().tokens(scope(many)) == [f"ti.1.2.3.{n}" for n in range(MOST_COOKIES)]


def test_a_request_without_credentials_goes_on_as_it_is() -> None:
    asked = scope(("cookie", "basket=3"), ("authorization", "Basic x"))
    assert Stripper([cookies()]).strip(asked["headers"]) is asked["headers"]


def test_strip_takes_the_gates_and_nothing_else() -> None:
    asked = scope(
        ("cookie", "a=1; waitroom-shop=x; __Host-waitroom-shop=y; b=2;c=3"),
        ("cookie", "waitroom-shop=z"),
        ("waitroom-pass", "x"),
        ("authorization", "Bearer pa.1.e.1.id.sig"),
        ("authorization", "Bearer the.sites.own"),
        ("x-other", "waitroom-shop=stays"),
    )
    assert Stripper([cookies()]).strip(asked["headers"]) == [
        (b"cookie", b"a=1; b=2;c=3"),
        (b"authorization", b"Bearer the.sites.own"),
        (b"x-other", b"waitroom-shop=stays"),
    ]
    assert len(asked["headers"]) == 6, "the server's own scope was changed"


def test_a_client_that_keeps_its_credential_itself_is_known_by_its_headers() -> None:
    assert cookies().came_by_header(scope(("waitroom-pass", "x")))
    assert cookies().came_by_header(scope(("authorization", "Bearer ti.1.e.1.id.sig")))
    assert not cookies().came_by_header(scope(("authorization", "Bearer own"), ("cookie", "waitroom-shop=x")))


SHOP = cookies()


@given(st.lists(st.tuples(st.sampled_from([b"cookie", b"waitroom-pass", b"authorization"]), st.binary())))
def test_p8_no_header_makes_it_raise_and_no_token_reaches_the_site(
    headers: list[tuple[bytes, bytes]],
) -> None:
    asked: Scope = {"scheme": "http", "headers": [*headers, (b"cookie", b"x=1; waitroom-shop=secret")]}
    assert len(SHOP.tokens(asked)) <= MOST_COOKIES
    left = Stripper([SHOP]).strip(asked["headers"])
    assert not any(b"waitroom-shop=secret" in value for _, value in left)
    assert all(header != b"waitroom-pass" for header, _ in left)
