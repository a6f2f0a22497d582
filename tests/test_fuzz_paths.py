"""`make fuzz-paths` in short: no spelling of a protected path reaches its page without a pass, on any server (P8)."""

from pathlib import Path

import pytest

from tests.conftest import SECRET
from tests.fuzzing.lenient import areas, forms
from tests.fuzzing.open_site import OpenSite
from tests.fuzzing.path_oracle import SERVERS, judge, open_site
from tests.fuzzing.spellings import spellings
from tests.gates import client_of

SEED = 20_260
COUNT = 1_500


@pytest.mark.parametrize("name", SERVERS)
def test_p8_no_spelling_reaches_a_page_without_its_pass(store_url: str, room: str, name: str) -> None:
    tried = list(spellings(SEED, COUNT))
    with open_site(SERVERS[name], store_url, SECRET, room) as (server, reached, passes):
        outcome = judge(server, reached, passes, tried)
    assert outcome.wrong == [], f"make fuzz-paths SEED={SEED} N={COUNT}"
    assert "Traceback" not in server.said
    assert "Exception" not in server.said
    # It could have gone wrong: the site understands many of them, and the gate does not hold just everything.
    assert outcome.understood > COUNT // 40
    assert outcome.public > COUNT // 100


def test_the_same_seed_makes_the_same_spellings_and_none_twice() -> None:
    made = list(spellings(1, 500))
    assert made == list(spellings(1, 500))
    assert len(set(made)) == 500
    assert made != list(spellings(2, 500))


@pytest.mark.parametrize(
    ("path", "area"),
    [
        ("/shop/7", "shop"),
        ("//h/shop/7", "shop"),
        ("/x/%252e%252e/SALE/7", "sale"),
        ("/pub/..;/shop/vip/7", "vip"),
        ("/caf%C3%A9/", "sale"),
    ],
)
async def test_the_site_tells_when_it_was_reached_without_a_pass(
    tmp_path: Path, path: str, area: str
) -> None:
    reached = tmp_path / "reached"
    async with client_of(OpenSite(tmp_path, reached)) as client:
        assert "reached" not in (await client.get("/pub/7")).headers["reached"]
        assert not reached.exists()
        answer = await client.get(path, headers={"X-Number": "5"})
        assert area in answer.headers["reached"].split()
        assert reached.read_text().startswith(f"5 without a pass for ['{area}'")
        await client.get(path, headers={"X-Passes": "shop vip sale"})
    assert len(reached.read_text().splitlines()) == 1


@pytest.mark.parametrize(
    "path", ["/", "/shopping", "/shop/img/7", "/shop/vip/terms", "/\u0455hop/7", "/caf\u00e9s"]
)
def test_what_is_nobodys_page_is_none_in_any_reading(path: str) -> None:
    assert areas(forms(path)) == set()
