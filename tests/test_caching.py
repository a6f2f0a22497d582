"""Which of the site's responses shared caches could keep."""

import pytest

from waitroom.web.answers.caching import is_meant_for_caches, make_private


def control(value: str) -> list[tuple[bytes, bytes]]:
    return [(b"content-type", b"text/css"), (b"cache-control", value.encode())]


FOR_ALL = [
    control("public"),
    control("max-age=60"),
    control('max-age="60"'),
    control("MAX-AGE=60, stale-while-revalidate=5"),
    control("s-maxage=60, max-age=0"),
    control("public, , =,max-age=0"),
    control('private="x-own", max-age=60'),
    [(b"Cache-Control", b"max-age=60")],
    [(b"cache-control", b"must-revalidate"), (b"cache-control", b"public")],
    [(b"expires", b"Wed, 21 Oct 2099 07:28:00 GMT")],
    [(b"Expires", b"Wed, 21 Oct 2099 07:28:00 GMT")],
    [(b"cache-control", b"private"), (b"cdn-cache-control", b"max-age=60")],
    [(b"cache-control", b"no-store"), (b"Cloudflare-CDN-Cache-Control", b"max-age=60")],
    [(b"surrogate-control", b"max-age=60")],
    [(b"x-accel-expires", b"60")],
]

NOT_FOR_ALL = [
    [],
    control(""),
    control("no-store"),
    control("private, max-age=60"),
    control("max-age=0"),
    control("max-age"),
    control("s-maxage=0, max-age=60"),
    control("no-cache"),
    control("max-age=0, must-revalidate"),
    [(b"expires", b"0")],
    [(b"expires", b"-1")],
    [(b"expires", b"Wed, 21 Oct 2099 07:28:00 GMT"), (b"cache-control", b"no-cache")],
    [(b"cdn-cache-control", b"no-store")],
    [(b"surrogate-control", b"max-age=0")],
    [(b"x-accel-expires", b"0")],
]


@pytest.mark.parametrize("headers", FOR_ALL)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_meant_for_caches(method: str, headers: list[tuple[bytes, bytes]]) -> None:
    assert is_meant_for_caches(method, headers)
    assert not is_meant_for_caches("POST", headers)


@pytest.mark.parametrize("headers", NOT_FOR_ALL)
def test_not_meant_for_caches(headers: list[tuple[bytes, bytes]]) -> None:
    assert not is_meant_for_caches("GET", headers)


@pytest.mark.parametrize("headers", FOR_ALL + NOT_FOR_ALL)
def test_what_was_made_private_is_kept_by_no_shared_cache(headers: list[tuple[bytes, bytes]]) -> None:
    private = make_private("GET", headers)
    assert not is_meant_for_caches("GET", private)
    told = [value for name, value in private if name.lower() == b"cache-control"]
    assert len(told) == 1
    assert b"private" in told[0].split(b", ") or b"no-store" in told[0]
    assert make_private("GET", private) == private


def test_the_sites_other_wishes_stay() -> None:
    headers = control('public, max-age=60, s-maxage=9, no-transform, no-cache="set-cookie"')
    assert make_private("GET", headers) == [
        (b"content-type", b"text/css"),
        (b"cache-control", b'private, max-age=60, no-transform, no-cache="set-cookie"'),
    ]
    assert make_private("GET", control('private="x-a, x-b", no-cache="x-c, x-d"')) == control(
        'private, no-cache="x-c, x-d"'
    )
    assert make_private("GET", control("private, max-age=5")) == control("private, max-age=5")
    assert make_private("POST", control("public")) == control("public")
