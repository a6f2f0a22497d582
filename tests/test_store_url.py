"""The URLs of stores: what they say, and what is said of those that will not do."""

import pytest

from tests.conftest import SECRET
from waitroom.config.settings import load
from waitroom.config.store_url import StoreUrl, parse, shown_url
from waitroom.errors import SettingsError

SECRET_PART = "hunter2"


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("redis://a", StoreUrl("single", False, (("a", 6379),), "", {}, {})),
        ("redis://a:1/2", StoreUrl("single", False, (("a", 1),), "", {"db": 2}, {})),
        ("rediss://[::1]:1/", StoreUrl("single", True, (("::1", 1),), "", {}, {})),
        (
            "redis://me:p%2F%40@a?socket_timeout=2",
            StoreUrl(
                "single",
                False,
                (("a", 6379),),
                "",
                {"username": "me", "password": "p/@", "socket_timeout": 2.0},
                {},
            ),
        ),
        (
            "unix://me:secret@/run/redis.sock?db=1",
            StoreUrl(
                "single",
                False,
                (),
                "",
                {"username": "me", "password": "secret", "path": "/run/redis.sock", "db": 1},
                {},
            ),
        ),
        (
            "redis+sentinel://a,b:1,[::1]:2/shop",
            StoreUrl("sentinel", False, (("a", 26379), ("b", 1), ("::1", 2)), "shop", {}, {}),
        ),
        (
            "rediss+sentinel://:p@a/my%2Fshop/3?sentinel_username=me&sentinel_password=p%26w&ssl_check_hostname=no",
            StoreUrl(
                "sentinel",
                True,
                (("a", 26379),),
                "my/shop",
                {"password": "p", "db": 3, "ssl_check_hostname": False},
                {"username": "me", "password": "p&w"},
            ),
        ),
        ("redis+cluster://a,b:1", StoreUrl("cluster", False, (("a", 6379), ("b", 1)), "", {}, {})),
        (
            "rediss+cluster://me:p@a/0",
            StoreUrl("cluster", True, (("a", 6379),), "", {"username": "me", "password": "p", "db": 0}, {}),
        ),
    ],
)
def test_what_a_url_says(url: str, meant: StoreUrl) -> None:
    assert parse(url) == meant
    assert load(redis_url=url, secret=SECRET).redis_url == url
    assert SECRET_PART not in repr(parse(url))


PORT = "a port is a number from 1 to 65535"
DATABASE = "what stands last behind the hosts has to be the number of a database"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis+sentinel://a,b", "the service is missing that the sentinels know the store by"),
        ("redis+sentinel://a/", "the service is missing that the sentinels know the store by"),
        ("redis+sentinel:///shop", "a host is missing"),
        ("redis+sentinel://a,,b/shop", "a host is missing"),
        ("redis+sentinel://a:0/shop", PORT),
        ("redis+sentinel://a:hunter2/shop", PORT),
        ("redis+sentinel://a:70000/shop", PORT),
        ("redis+sentinel://a/shop/hunter2", DATABASE),
        ("redis+sentinel://a/shop/1/2", DATABASE),
        ("redis+cluster://", "a host is missing"),
        ("redis+cluster://me:hunter2@", "a host is missing"),
        ("redis+cluster://a/1", "a cluster has database 0 alone"),
        ("redis+cluster://a?sentinel_password=hunter2", "an option behind the ? is unknown; known are "),
        ("rediss+cluster://a?ssl_password=hunter2", "an option behind the ? is unknown; known are "),
        ("redis://a,b", "several hosts are for redis+sentinel:// and redis+cluster://"),
        ("redis://a/shop", DATABASE),
        ("redis://me:hun/ter2hunter2@a", PORT),
        ("redis://me:hunter2#x@a", "a # in it has to be written %23"),
        ("redis://a?db=hunter2", "an option behind the ? has a value of the wrong kind"),
        ("redis://a?max_connections=0", "max_connections has to be at least 1"),
        ("redis://a?user_name=hunter2", "an option behind the ? is unknown; did you mean username?"),
        ("rediss://a?ssl_ca_cert=hunter2", "an option behind the ? is unknown; did you mean ssl_ca_certs?"),
        ("redis://a?ssl_ca_certs=/hunter2", "options that begin with ssl_ are for rediss://"),
        ("rediss://a?ssl_cert_reqs=hunter2", "its ssl options, or the files they name, can't be used"),
        ("unix://run", "it names no socket"),
        ("unix:///run/", "it names no socket"),
        ("valkey://a", "there is no such kind of store"),
        ("a:6379", "there is no such kind of store"),
    ],
)
def test_p8_what_is_wrong_with_a_url_is_told_without_showing_it(url: str, why: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load(redis_url=url, secret=SECRET)
    said = str(raised.value)
    assert said.startswith(f"WAITROOM_REDIS_URL=(not shown) is not allowed: {why}")
    assert "; allowed: redis://host:port/db, redis+sentinel://host:port,host:port/service, " in said
    assert SECRET_PART not in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://someone:p@ss@localhost/0", "redis://localhost/0"),
        ("unix://:secret@/run/redis.sock?db=1&password=secret", "unix:///run/redis.sock"),
        ("rediss://h?ssl_password=secret", "rediss://h"),
        (
            "redis+sentinel://me:secret@a:1,[::1]:2/shop/0?sentinel_password=secret",
            "redis+sentinel://a:1,[::1]:2/shop/0",
        ),
        ("redis+cluster://me:secret@a:1,b", "redis+cluster://a:1,b"),
    ],
)
def test_p8_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert shown_url(url) == shown
