"""`docs/frameworks.md`: each of its blocks gates a real site, on each server that it names."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SECRET
from tests.gates import API, serving
from tests.visits import comes_in, ended_well, is_denied, talks, visitor, waits

ROOT = Path(__file__).parent.parent
DOC = (ROOT / "docs" / "frameworks.md").read_text("utf-8")
SHOPS = ROOT / "tests" / "frameworks"
H11 = "uvicorn --http h11 gated:app"


def section(heading: str) -> str:
    (found,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", DOC, re.MULTILINE | re.DOTALL)
    return str(found)


def blocks(heading: str, language: str) -> list[str]:
    """The blocks of code below a heading, as they stand."""
    return re.findall(rf"```{language}\n(.*?)```", section(heading), re.DOTALL)


def commands(heading: str) -> list[str]:
    """The lines of the shell below a heading."""
    (block,) = blocks(heading, "sh")
    return block.splitlines()


@dataclass(frozen=True)
class Case:
    """A section of the page with what there is to be seen of its site."""

    heading: str
    shop: str
    goods: int | None = None
    """What the site's lifespan has put there, where it has one that is run."""
    sockets: bool = True
    block: int = 0
    file: str = "gated.py"
    path: str = ""
    """Below it is the site."""
    base: str = ""
    """Below it are the gate's routes."""
    target: str = "gated:app"

    def lay_out(self, folder: Path) -> None:
        """Make the folder that the page speaks of."""
        if (SHOPS / self.shop).is_dir():
            shutil.copytree(SHOPS / self.shop, folder / "shop")
        else:
            shutil.copy(SHOPS / f"{self.shop}.py", folder / "shop.py")
        (folder / self.file).write_text(blocks(self.heading, "python")[self.block], "utf-8")


CASES = [
    Case("FastAPI", "fastapi_shop", goods=7),
    Case("Starlette", "starlette_shop", goods=7),
    Case("Litestar", "litestar_shop", goods=7),
    Case("Django", "django_shop", sockets=False, file="shop/asgi.py", target="shop.asgi:application"),
    Case("Quart", "quart_shop", goods=7),
    Case("Plain ASGI", "plain_shop"),
    Case("Mounted sub-apps", "fastapi_shop", path="/shop"),
    Case("Mounted sub-apps", "starlette_shop", block=1, path="/shop", base="/shop"),
]


@pytest.fixture
def gate(store_url: str, room: str) -> dict[str, Any]:
    """A room with one place."""
    return {"redis_url": store_url, "secret": SECRET, "room": room, "capacity": 1}


def visit(line: str, folder: Path, case: Case, gate: dict[str, Any], told: str | None = None) -> None:
    """One visitor comes in, and finds what is promised; the next one waits."""
    with serving(line, folder, base=case.base, **gate) as server:
        with visitor(server) as inside, visitor(server) as outside:
            comes_in(inside, case.goods, case.path)
            waits(outside, case.path, case.base, told)
            if case.sockets:
                talks(server, f"{case.path}/socket", inside)
        is_denied(server, f"{case.path}/socket", 403 if line.startswith("gunicorn") else 503)
    ended_well(server)


@pytest.mark.parametrize("line", [*commands("Servers"), *commands("gunicorn")])
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.heading} {case.block}")
def test_the_block_gates_the_site(tmp_path: Path, gate: dict[str, Any], case: Case, line: str) -> None:
    case.lay_out(tmp_path)
    visit(line.replace("gated:app", case.target), tmp_path, case, gate)


def test_the_block_gates_the_site_on_uvicorns_other_parser(tmp_path: Path, gate: dict[str, Any]) -> None:
    """It hands the same to all sites; what it does otherwise is tried on one."""
    case = CASES[1]
    case.lay_out(tmp_path)
    visit(H11, tmp_path, case, gate)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.heading} {case.block}")
def test_the_site_asks_who_is_there_in_the_words_of_the_page(case: Case) -> None:
    site = "".join(path.read_text("utf-8") for path in SHOPS.glob(f"{case.shop}*/*.py")) or (
        SHOPS / f"{case.shop}.py"
    ).read_text("utf-8")
    said = re.findall(r"^Who is there: `(.+?)`", section(case.heading), re.MULTILINE)
    assert said or case.heading == "Mounted sub-apps"
    assert all(words in site for words in said)


@pytest.mark.parametrize("line", commands("An app factory"))
def test_a_factory_makes_the_gate(tmp_path: Path, gate: dict[str, Any], line: str) -> None:
    case = Case("An app factory", "fastapi_shop", goods=7)
    case.lay_out(tmp_path)
    visit(line, tmp_path, case, gate)


@pytest.mark.parametrize("target", ["shop:app", "--factory shop:make_shop"])
def test_waitroom_run_needs_no_line_of_the_page(tmp_path: Path, gate: dict[str, Any], target: str) -> None:
    shutil.copy(SHOPS / "starlette_shop.py", tmp_path / "shop.py")
    with (tmp_path / "shop.py").open("a") as shop:
        shop.write("\n\ndef make_shop():\n    return app\n")
    visit(f"waitroom run {target}", tmp_path, Case("Starlette", "starlette_shop", goods=7), gate)


BELOW_A_PREFIX = {line.split()[0]: line for line in commands("Below a prefix")}
PREFIXED = ("fastapi_shop", "litestar_shop", "quart_shop", "plain_shop")


@pytest.mark.parametrize(
    ("line", "shop"),
    [
        # Granian leaves the path as hypercorn does.
        *((BELOW_A_PREFIX[server], shop) for server in ("uvicorn", "hypercorn") for shop in PREFIXED),
        (BELOW_A_PREFIX["granian"], "fastapi_shop"),
    ],
)
def test_below_a_prefix_the_page_finds_the_gate(
    tmp_path: Path, gate: dict[str, Any], shop: str, line: str
) -> None:
    """uvicorn is asked as by a proxy that takes the prefix off, the others as by one that leaves it on."""
    Case("Plain ASGI", shop).lay_out(tmp_path)
    where = "" if line.startswith("uvicorn") else "/shop"
    goods = None if shop == "plain_shop" else 7
    visit(line, tmp_path, Case("Plain ASGI", shop, goods, path=where, base=where), gate, told="/shop")


@pytest.mark.parametrize("line", ["granian", "hypercorn"])
def test_the_gate_takes_a_path_without_its_prefix(tmp_path: Path, gate: dict[str, Any], line: str) -> None:
    Case("Starlette", "starlette_shop").lay_out(tmp_path)
    with serving(BELOW_A_PREFIX[line], tmp_path, **gate) as server, visitor(server) as inside:
        assert inside.get("/").json()["site"] == "inside"
        assert inside.get(f"{API}/window").json()["inside"] == 1
    ended_well(server)
