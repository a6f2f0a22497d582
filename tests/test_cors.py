"""Scripts of other origins read the gate's own answers where the operator lets them."""

from collections.abc import Callable

import httpx
import pytest

from tests.gates import API, client_of, gated, session
from tests.sites import site
from waitroom.config.settings import Settings

Make = Callable[..., Settings]

FRIEND = "https://app.example"
JSON = {"Accept": "application/json"}
ASKING = {"Access-Control-Request-Method": "DELETE", "Access-Control-Request-Headers": "authorization"}


pytestmark = pytest.mark.usefixtures("patience")


def may_read(response: httpx.Response, origin: str) -> bool:
    assert "Origin" in response.headers["vary"]
    credentials = response.headers.get("access-control-allow-credentials") == "true"
    return bool(response.headers.get("access-control-allow-origin") == origin and credentials)


async def test_a_named_origin_reads_the_503_and_the_json(settings: Make) -> None:
    mine = settings(capacity=1, cors_origins=f"{FRIEND},http://localhost:3000")
    async with gated(site, settings=mine) as gate, client_of(gate) as app, client_of(gate) as guest:
        await session(guest)
        for origin, reads in (
            (FRIEND, True),
            ("http://localhost:3000", True),
            ("https://evil.example", False),
        ):
            for path in ("/", f"{API}/window", f"{API}/status"):
                response = await app.get(path, headers={**JSON, "Origin": origin})
                assert may_read(response, origin) is reads
                assert "cookie" in response.headers["vary"].lower() or path.endswith("window")


@pytest.mark.parametrize(
    ("named", "others"),
    [
        (
            "capacitor://localhost",
            ["http://localhost", "https://localhost", "ionic://localhost", "Capacitor://localhost"],
        ),
        (
            "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
            ["chrome-extension://abcdefghijklmnopabcdefghijklmnoo"],
        ),
        ("app://.", ["app://", "app://./", "null"]),
        (
            "https://app.example:8443",
            ["https://app.example", "https://app.example:8443/", "https://APP.example:8443"],
        ),
    ],
)
async def test_an_app_or_an_extension_reads_by_its_own_scheme_and_no_other_does(
    settings: Make, named: str, others: list[str]
) -> None:
    async with gated(site, settings=settings(cors_origins=named)) as gate, client_of(gate) as app:
        for origin in (named, *others):
            response = await app.get(f"{API}/window", headers={"Origin": origin})
            assert may_read(response, origin) is (origin == named)
            asked = await app.options(f"{API}/ticket", headers={**ASKING, "Origin": origin})
            assert (asked.status_code == 204) is (origin == named)


async def test_a_preflight_of_the_gates_routes_is_answered(settings: Make) -> None:
    async with gated(site, settings=settings(cors_origins=FRIEND)) as gate, client_of(gate) as app:
        response = await app.options(f"{API}/ticket", headers={**ASKING, "Origin": FRIEND})
        assert response.status_code == 204
        assert may_read(response, FRIEND)
        assert "DELETE" in response.headers["access-control-allow-methods"]
        assert "Authorization" in response.headers["access-control-allow-headers"]
        stranger = await app.options(f"{API}/ticket", headers={**ASKING, "Origin": "https://evil.example"})
        assert stranger.status_code == 405


async def test_by_default_no_other_origin_reads_anything(settings: Make) -> None:
    async with gated(site, settings=settings()) as gate, client_of(gate) as app:
        response = await app.get(f"{API}/status", headers={"Origin": FRIEND})
        assert not [name for name in response.headers if name.startswith("access-control")]
        assert "Origin" not in response.headers["vary"]
