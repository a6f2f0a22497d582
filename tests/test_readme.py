"""The README tells what is so."""

import re
from pathlib import Path

from tests.settings_table import written
from waitroom.config.settings import Settings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def test_the_table_of_settings_is_the_codes() -> None:
    assert written(README) == README, "run `make readme`"
    assert all(f"`WAITROOM_{name.upper()}`" in README for name in Settings.model_fields)


def test_its_links_and_pictures_are_there() -> None:
    linked = re.findall(r"\]\((?!https?:|#)([^)]+)\)", README)
    assert linked
    assert [path for path in linked if not (ROOT / path).exists()] == []


def test_its_make_targets_are_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", README, re.MULTILINE)) <= targets


def test_its_example_gates_a_site() -> None:
    """The five lines are run as they stand."""
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert "app" in names
