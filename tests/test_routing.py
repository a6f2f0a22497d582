"""Which way a request goes, and what is remembered of it."""

from typing import Any

import pytest

from waitroom.paths.owners import Owners
from waitroom.web import routing
from waitroom.web.routing import Routing, Way

SALE, SHOP = "sale", "shop"
AREAS = Owners([(["/sale/*"], []), (["/*"], ["/free/*"])])


def asked(path: str, raw_path: str | None = None, **more: Any) -> dict[str, Any]:
    return {"path": path, "raw_path": (raw_path or path).encode(), **more}


@pytest.mark.parametrize(
    ("scope", "way"),
    [
        (asked("/_waitroom/window"), Way("/window", (), ())),
        (asked("/app/_waitroom/window", root_path="/app"), Way("/window", (), ())),
        (asked("/sale/1"), Way(None, [SALE], [SALE])),
        (asked("/SALE/1"), Way(None, [SALE, SHOP], [SALE, SHOP])),
        (asked("/free/1"), Way(None, [], [SHOP])),
        (asked("/free/../sale/1", "/free/%2e%2e/sale/1"), Way(None, [SALE, SHOP], [SALE, SHOP])),
        ({"path": "/sale/1"}, Way(None, [SALE], [SALE])),
    ],
)
def test_a_way_is_the_same_when_it_is_remembered(scope: dict[str, Any], way: Way[str]) -> None:
    found = Routing("/_waitroom", AREAS, [SALE, SHOP])
    assert found.of(scope) == way
    assert found.of(scope) == way


def test_the_raw_path_tells_ways_apart() -> None:
    """What the server has decoded may be read otherwise behind it."""
    found = Routing("/_waitroom", AREAS, [SALE, SHOP])
    assert found.of(asked("/free/a/../../x")).rooms == found.of(asked("/free/a/../../x")).rooms
    plain, escaped = found.of(asked("/free/a", "/free/a")), found.of(asked("/free/a", "/free%2fa"))
    assert plain.rooms == []
    assert escaped.rooms == [SHOP]


def test_only_so_many_paths_are_remembered_and_no_long_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "MOST_KEPT", 3)
    found = Routing("/_waitroom", AREAS, [SALE, SHOP])
    for at in range(9):
        assert found.of(asked(f"/sale/{at}")).rooms == [SALE]
    assert len(found._kept) == 3
    found.of(asked("/sale/" + "x" * routing.LONGEST_KEPT))
    assert len(found._kept) == 3
