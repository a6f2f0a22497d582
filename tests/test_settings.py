"""The environment, the keywords, the defaults; one line for what is wrong."""

import inspect
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.conftest import SECRET
from tests.sites import plain
from waitroom.config.environment import server_software
from waitroom.config.keywords import Keywords, RoomKeywords
from waitroom.config.settings import Settings, load, variables
from waitroom.errors import SettingsError
from waitroom.line.window import LARGEST_NUMBER
from waitroom.web.middleware import WaitingRoomMiddleware

REAL = "redis://localhost:6379"


def variable(name: str) -> str:
    return f"WAITROOM_{name.upper()}"


def wrong(**keywords: Any) -> str:
    with pytest.raises(ValueError) as caught:
        load(**keywords)
    assert type(caught.value).__name__ == "SettingsError"
    assert caught.value.__cause__ is None, "the chained error would show the value"
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_defaults_are_the_documented_ones() -> None:
    settings = load()
    assert settings.model_dump() == {
        "redis_url": "embedded://",
        "secret": (),
        "room": "default",
        "paths": ("/*",),
        "exclude": ("/robots.txt", "/favicon.ico", "/.well-known/*"),
        "window_size": 50,
        "window_interval": 10,
        "active_window_count": 30,
        "capacity": 1500,
        "session_seconds": 300,
        "max_session_seconds": 0,
        "first_lease_seconds": 3,
        "body_limit": 64_000_000,
        "claim_seconds": 90,
        "settle_seconds": 5,
        "sync_seconds": 0.5,
        "store_timeout_seconds": 0.25,
        "status_code": 503,
        "on_store_failure": "hold",
        "prefix": "/_waitroom",
        "cookie_name": "waitroom",
        "cookie_secure": "auto",
        "cookie_samesite": "lax",
        "cookie_domain": None,
        "cors_origins": (),
        "preflights": "pass",
        "templates": None,
        "join_limit": 0,
        "trusted_proxies": (),
        "challenge": "auto",
        "challenge_difficulty": 1000,
    }
    assert settings.active_seconds == 300


def test_keywords_win_over_the_environment_and_that_over_the_defaults(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WAITROOM_WINDOW_SIZE", "7")
    monkeypatch.setenv("WAITROOM_CAPACITY", "9")
    settings = load(capacity=11)
    assert (settings.window_size, settings.capacity, settings.window_interval) == (7, 11, 10)


def test_an_empty_variable_is_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in variables():
        monkeypatch.setenv(name, "")
    assert load() == Settings()


def test_every_setting_is_read_from_its_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given = {
        "redis_url": f"unix://{tmp_path}/s?db=3",
        "secret": f"{SECRET}, {SECRET[::-1]}",
        "room": "shop-1_A",
        "paths": "/a/*, /b ,",
        "exclude": "/a/free",
        "window_size": "1",
        "window_interval": "0.1",
        "active_window_count": "20",
        "capacity": "2",
        "session_seconds": "3.5",
        "max_session_seconds": "4.5",
        "first_lease_seconds": "1.5",
        "body_limit": "3000000",
        "claim_seconds": "0.5",
        "settle_seconds": "2.5",
        "sync_seconds": "0.05",
        "store_timeout_seconds": "1.25",
        "status_code": "429",
        "on_store_failure": "open",
        "prefix": "/q",
        "cookie_name": "c",
        "cookie_secure": "always",
        "cookie_samesite": "none",
        "cookie_domain": ".shop.test",
        "cors_origins": "https://app.example, http://[::1]:3000, capacitor://localhost",
        "preflights": "refuse",
        "templates": str(tmp_path),
        "join_limit": "7",
        "trusted_proxies": "10.0.0.0/8, ::1, unix",
        "challenge": "always",
        "challenge_difficulty": "9",
    }
    assert set(given) == set(Settings.model_fields)
    for name, value in given.items():
        monkeypatch.setenv(variable(name), value)
    told = load().model_dump()
    assert told["secret"] == (SECRET, SECRET[::-1])
    assert (told["paths"], told["exclude"]) == (("/a/*", "/b"), ("/a/free",))
    assert told["templates"] == tmp_path
    assert told["cors_origins"] == ("https://app.example", "http://[::1]:3000", "capacitor://localhost")
    assert told["trusted_proxies"] == ("10.0.0.0/8", "::1", "unix")
    lists = ("secret", "paths", "exclude", "cors_origins", "trusted_proxies")
    assert {name: str(told[name]) for name in given if name not in lists} == {
        name: value for name, value in given.items() if name not in lists
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("room", ""),
        ("room", "two words"),
        ("room", "ü"),
        ("room", "x" * 41),
        ("room", "a\n"),
        ("paths", "shop"),
        ("paths", ","),
        ("paths", "/a,b"),
        ("exclude", "/a?b"),
        ("exclude", "/a/../b"),
        ("window_size", "0"),
        ("window_size", "1000001"),
        ("window_size", "many"),
        ("window_size", "1.5"),
        ("window_interval", "0.05"),
        ("window_interval", "nan"),
        ("window_interval", "inf"),
        ("window_interval", "86401"),
        ("active_window_count", "0"),
        ("capacity", "0"),
        ("capacity", "-1"),
        ("capacity", str(LARGEST_NUMBER + 1)),
        ("capacity", None),
        ("session_seconds", "0.5"),
        ("session_seconds", "31536001"),
        ("max_session_seconds", "0.5"),
        ("max_session_seconds", "-1"),
        ("first_lease_seconds", "301"),
        ("first_lease_seconds", "0"),
        ("claim_seconds", "301"),
        ("claim_seconds", "0"),
        ("sync_seconds", "0"),
        ("sync_seconds", "61"),
        ("store_timeout_seconds", "0.04"),
        ("store_timeout_seconds", "5.1"),
        ("status_code", "404"),
        ("status_code", "five"),
        ("status_code", None),
        ("on_store_failure", "panic"),
        ("prefix", "waitroom"),
        ("prefix", "/"),
        ("prefix", "/a/"),
        ("prefix", "/a b"),
        ("prefix", "/.."),
        ("cookie_name", "a b"),
        ("cookie_name", "a;b"),
        ("cookie_secure", "yes"),
        ("cookie_samesite", "maybe"),
        ("cookie_domain", "a b"),
        ("cookie_domain", "a;b"),
        ("cookie_domain", "a..b"),
        ("templates", "/no/such/folder"),
        ("join_limit", "-1"),
        ("join_limit", "many"),
        ("trusted_proxies", "10.0.0.300"),
        ("trusted_proxies", "10.0.0.1/8"),
        ("trusted_proxies", "proxy.example"),
        ("challenge", "sometimes"),
        ("challenge_difficulty", "0"),
        ("challenge_difficulty", "100001"),
    ],
)
def test_a_wrong_value_names_the_variable_the_value_and_what_is_allowed(name: str, value: Any) -> None:
    message = wrong(**{name: value})
    extra = Settings.model_fields[name].json_schema_extra
    assert isinstance(extra, dict)
    assert message == f"{variable(name)}={str(value)!r} is not allowed; allowed: {extra['allowed']}"


def test_a_long_value_is_told_in_part() -> None:
    assert f"='{'x' * 80}…'" in wrong(room="x" * 5000)
    assert wrong(paths=["/a", "b" * 5000]).startswith("WAITROOM_PATHS='/a,bbb")


@pytest.mark.parametrize(
    "url",
    [
        "localhost",
        "http://localhost",
        "redis:localhost",
        "redis://",
        "redis://:0",
        "redis://user:hunter2-hunter2@:6379",
        "redis://host:0",
        "redis://host:99999",
        "redis://[::1",
        "redis://host:port",
        "redis://host?hunter2=1",
        "redis://host?socket_timeout=hunter2",
        "rediss://host?ssl_cert_reqs=hunter2",
        "unix://",
        "unix:///run/redis.sock?db=hunter2",
    ],
)
def test_p8_a_wrong_url_of_the_store_is_not_shown(url: str) -> None:
    message = wrong(redis_url=url, secret=SECRET)
    assert message.startswith("WAITROOM_REDIS_URL=(not shown) is not allowed: ")
    assert "; allowed: redis://host:port/db" in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    "url",
    [
        REAL,
        "redis://user:pass@host/3",
        "rediss://host?ssl_cert_reqs=none",
        "redis://[::1]:1",
        "unix:///run/redis.sock?db=3",
        "embedded://",
    ],
)
def test_every_documented_url_will_do(url: str) -> None:
    assert load(redis_url=url, secret=SECRET).redis_url == url


@pytest.mark.parametrize("secret", ["short", f"{SECRET},short", "hunter2 " * 3, f"{'hunter2 ' * 3},{SECRET}"])
def test_p8_a_wrong_secret_is_not_shown(secret: str) -> None:
    message = wrong(secret=secret)
    assert message.startswith(
        "WAITROOM_SECRET=(not shown) is not allowed: a key is too short; "
        "allowed: one or more keys of at least 32"
    )
    assert "short" not in message.replace("too short", "")
    assert "hunter2" not in message


@pytest.mark.parametrize("secret", [(), "", ",", None])
def test_a_real_store_needs_a_secret(secret: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = "WAITROOM_SECRET is not set: with a real store it is required; allowed: one or more keys"
    assert wrong(redis_url=REAL, secret=secret).startswith(expected)
    monkeypatch.setenv("WAITROOM_REDIS_URL", REAL)
    assert wrong().startswith(expected)


def test_samesite_none_cannot_go_with_secure_never() -> None:
    assert "unless WAITROOM_COOKIE_SECURE=never" in wrong(cookie_samesite="none", cookie_secure="never")


def test_an_unknown_setting_is_refused_and_the_nearest_named(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = "WAITROOM_CAPACTY: there is no such setting; did you mean WAITROOM_CAPACITY?"
    assert wrong(capacty=1) == expected
    monkeypatch.setenv("WAITROOM_CAPACTY", "1")
    assert wrong() == expected
    assert "allowed are WAITROOM_REDIS_URL, WAITROOM_SECRET" in wrong(zzzzzzzzzzzz=1)


def test_the_first_of_several_errors_is_one_that_was_made() -> None:
    assert wrong(window_interval=0, claim_seconds=50).startswith("WAITROOM_WINDOW_INTERVAL=")
    assert wrong(session_seconds="x", first_lease_seconds=1000).startswith("WAITROOM_SESSION_SECONDS=")
    assert wrong(redis_url="x").startswith("WAITROOM_REDIS_URL=")


@pytest.mark.parametrize(
    "changed",
    [
        {"window_size": 1},
        {"window_size": 1_000_000, "active_window_count": 100_000},
        {"window_interval": 0.1, "active_window_count": 1},
        {"window_interval": 86_400, "active_window_count": 100_000},
        {"active_window_count": 1},
        {"session_seconds": 1},
        {"session_seconds": 31_536_000},
    ],
)
def test_defaults_fit_together_when_one_is_changed(changed: dict[str, Any]) -> None:
    settings = load(**changed)
    assert 0.1 <= settings.claim_seconds <= settings.active_seconds
    assert 1 <= settings.first_lease_seconds <= settings.session_seconds
    assert settings.tempo.longest_poll <= settings.active_seconds / 3
    if "session_seconds" not in changed:
        assert settings.session_seconds == max(1, min(settings.active_seconds, 31_536_000))
    assert settings.capacity == settings.window_size * settings.active_window_count
    assert Settings(**settings.model_dump()) == settings


def test_keywords_are_the_settings() -> None:
    assert set(RoomKeywords.__annotations__) == set(Settings.model_fields)
    assert set(Keywords.__annotations__) == {*Settings.model_fields, "rooms"}
    assert Keywords.__total__ is RoomKeywords.__total__ is False
    assert "keywords" in inspect.signature(WaitingRoomMiddleware).parameters


def test_every_setting_says_what_it_means_and_what_is_allowed() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert isinstance(field.json_schema_extra, dict), name
        assert field.json_schema_extra["allowed"], name


def test_settings_made_in_code_are_refused_in_one_line_too() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings(capacity="many", redis_url="redis://:hunter2@:1", colour="red")  # type: ignore[arg-type, call-arg]
    told = (str(caught.value), *caught.value.others)
    assert [line.partition("=")[0].partition(":")[0] for line in told] == [
        "WAITROOM_REDIS_URL",
        "WAITROOM_CAPACITY",
        "WAITROOM_COLOUR",
    ]
    assert "hunter2" not in "".join(told)


def test_settings_are_frozen() -> None:
    settings = load()
    with pytest.raises(ValidationError):
        settings.capacity = 1


def test_p8_settings_do_not_show_their_secrets_by_accident() -> None:
    shown = repr(load(redis_url="redis://user:hunter2@host", secret=SECRET))
    assert "hunter2" not in shown
    assert SECRET not in shown


def test_gunicorn_is_known_by_what_it_tells_its_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SERVER_SOFTWARE", raising=False)
    assert server_software() is None
    monkeypatch.setenv("SERVER_SOFTWARE", "gunicorn/23")
    assert server_software() == "gunicorn/23"


def test_settings_and_keywords_are_not_mixed() -> None:
    with pytest.raises(
        SettingsError, match="settings= is the whole of them: capacity can't be given beside it"
    ):
        WaitingRoomMiddleware(plain, settings=load(), capacity=5)
