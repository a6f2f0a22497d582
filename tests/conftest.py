import itertools
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest

from tests import authorities, stores
from waitroom.config.settings import Settings, load

pytest_plugins = ["tests.browser", "tests.images", "tests.libraries", "tests.packaged"]

SECRET = "a-secret-for-tests-that-is-long-enough"

authorities.share()

_rooms = itertools.count(1)

# A change is held by the examples that the one before it met; new ones are for `make fuzz`.
DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"
# How long an example takes is no matter of the tests: a busy machine is not a fault.
hypothesis.settings.register_profile(
    "default", deadline=None, derandomize=not DEEP, max_examples=5000 if DEEP else 100
)


LONGEST = (
    "test_frameworks",
    "test_servers",
    "test_pages",
    "test_upgrade",
    "test_embedded_gaps",
    "test_cross_site",
    "test_lost_store",
    "test_promises",
    "test_fault_processes",
    "test_benchmarks",
    "test_wheel",
    "test_cli",
    "test_workers",
    "test_site_on_servers",
    "test_libraries",
    "test_other_ways",
    "test_simulation",
)
"""Files that take minutes, the longest first: one that is begun last would be waited for by all others."""


def pytest_configure(config: pytest.Config) -> None:
    # xdist would begin with the files that have most tests, and those of real servers have few.
    config.option.loadscopereorder = False
    # What runs in the background of a shell is deaf to Ctrl-C, and so would be what the tests start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {name: at for at, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(LONGEST)))


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("WAITROOM_"):
            monkeypatch.delenv(name)


def pytest_report_header() -> str:
    return f"stores: {', '.join(f'{name} ({path})' for name, path in stores.found().items())}"


@pytest.fixture(scope="session", params=["valkey", "redis"])
def any_store_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Valkey and Redis in turn: what is tested on one is tested on both."""
    with stores.store(request.param) as url:
        yield url


@pytest.fixture(scope="session", params=stores.names())
def every_store_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each kind of store in turn: one suite for single servers, Sentinel and Cluster."""
    with stores.store(request.param) as url:
        yield url


@pytest.fixture(scope="session")
def store_url() -> Iterator[str]:
    """One real store, shared by the tests; each test has a room of its own."""
    with stores.store("valkey") as url:
        yield url


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """For gates in this process: a busy machine is not a store that is away."""
    monkeypatch.setenv("WAITROOM_STORE_TIMEOUT_SECONDS", "5")


@pytest.fixture
def room() -> str:
    """A room that no other test has used."""
    return f"room{next(_rooms)}-{os.getpid()}"


@pytest.fixture
def settings(store_url: str, room: str) -> Callable[..., Settings]:
    """Settings on the shared store with a room of the test's own; keywords change the rest."""

    def make(**keywords: Any) -> Settings:
        return load(**{"redis_url": store_url, "secret": SECRET, "room": room, **keywords})

    return make
