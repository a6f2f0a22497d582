"""The documentation's site: it builds, its links lead somewhere, and it tells what is so."""

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.packaged import NOT_SOURCE, ROOT
from tests.settings_table import written
from waitroom import __version__


def mkdocs(tree: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """Build the site of a tree as `make docs` does; not quietly, as what is not told is not counted either."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, capture_output=True, text=True, cwd=tree, env=env, check=False)


class Fetched(HTMLParser):
    """What a browser loads by itself to show a page."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        name = {"link": "href", "script": "src", "img": "src", "iframe": "src"}.get(tag)
        self.urls += [value for key, value in attrs if key == name and value]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    done = mkdocs(ROOT, out)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The tree, to be spoilt."""
    return shutil.copytree(ROOT, tmp_path / "copy", ignore=NOT_SOURCE)


def pages(site: Path) -> dict[str, str]:
    found = {path.relative_to(site).as_posix(): path.read_text("utf-8") for path in site.rglob("*.html")}
    assert len(found) > 8
    return found


def test_every_page_says_which_version_it_is_about(site: Path) -> None:
    assert [name for name, text in pages(site).items() if f"waitroom {__version__}, MIT" not in text] == []


def test_the_readme_and_its_neighbours_are_pages(site: Path) -> None:
    found = pages(site)
    for name, words in [
        ("index.html", "Two integers hold a line of any length."),
        ("security-policy/index.html", "Reporting"),
        ("changelog/index.html", "Keep a Changelog"),
        ("contributing/index.html", "Where things are"),
    ]:
        assert words in found[name]
    assert 'href="contributing/"' in found["index.html"]
    assert 'href="../upgrading/#a-new-key"' in found["security-policy/index.html"]


def test_nothing_comes_from_other_hosts(site: Path) -> None:
    for name, text in pages(site).items():
        fetched = Fetched()
        fetched.feed(text)
        assert [url for url in fetched.urls if "//" in url] == [], name
        here = site if name == "404.html" else (site / name).parent
        local = [re.split("[?#]", url)[0].removeprefix("/") for url in fetched.urls]
        assert local, name
        assert [url for url in local if not (here / url).exists()] == [], name


@pytest.mark.parametrize(
    "spoilt",
    ["[x](nowhere.md)", "[x](settings.md#nowhere)", "[x](../nowhere.py)", "[x](../README.md#nowhere)"],
)
def test_a_link_that_leads_nowhere_stops_the_build(copy: Path, tmp_path: Path, spoilt: str) -> None:
    page = copy / "docs" / "quick-start.md"
    page.write_text(f"{page.read_text('utf-8')}\n{spoilt}\n", "utf-8")
    done = mkdocs(copy, tmp_path / "out")
    assert done.returncode == 1
    assert "nowhere" in done.stdout + done.stderr


def test_a_page_without_a_place_in_the_menu_stops_the_build(copy: Path, tmp_path: Path) -> None:
    (copy / "docs" / "forgotten.md").write_text("# Forgotten\n", "utf-8")
    done = mkdocs(copy, tmp_path / "out")
    assert done.returncode == 1
    assert "forgotten.md" in done.stdout + done.stderr


def test_the_table_of_settings_is_the_codes() -> None:
    page = (ROOT / "docs" / "settings.md").read_text("utf-8")
    assert written(page) == page, "run `make readme`"


def test_the_example_of_the_settings_gates_a_site() -> None:
    (code,) = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "settings.md").read_text("utf-8"), re.DOTALL
    )
    names: dict[str, object] = {}
    exec(compile(code, "settings.md", "exec"), names)
    assert "app" in names
