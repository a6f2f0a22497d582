"""docs/security.md names tests that there are, and every kind of attack and item that it has to."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "security.md").read_text("utf-8")
NAMED = re.compile(r"`(tests/\w+\.py)::(\w+)`")


@cache
def names_in(file: str) -> frozenset[str]:
    """The names of a file's tests."""
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(node.name for node in functions if node.name.startswith("test_"))


def rows(heading: str) -> list[list[str]]:
    """The cells of a section's table, without its head."""
    (section,) = re.findall(rf"^##+ {heading}.*?\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


@pytest.mark.parametrize(("file", "name"), sorted(set(NAMED.findall(PAGE))))
def test_every_test_that_is_named_is_there(file: str, name: str) -> None:
    assert (ROOT / file).is_file()
    assert name in names_in(file), (
        f"{file} has no {name} any more: say in docs/security.md which test it is now"
    )


def test_each_attack_has_a_defence_and_a_test() -> None:
    found = rows("Threats")
    assert len(found) > 30
    for row in found:
        assert len(row) == 3, row
        assert NAMED.search(row[2]), row[0]
        assert NAMED.sub("", row[2]).strip(", ") == "", "only tests, each written as tests/file.py::name"


ITEMS = {
    "V3.3": [f"3.3.{n}" for n in range(1, 6)] + [f"3.5.{n}" for n in range(1, 4)],
    "V7": [
        f"7.{section}.{n}"
        for section, last in ((1, 3), (2, 4), (3, 2), (4, 5), (5, 3), (6, 2))
        for n in range(1, last + 1)
    ],
    "V9": [f"9.{section}.{n}" for section, last in ((1, 3), (2, 4)) for n in range(1, last + 1)],
    "V11": [
        f"11.{section}.{n}"
        for section, last in ((1, 4), (2, 5), (3, 5), (4, 4), (5, 2), (6, 2), (7, 2))
        for n in range(1, last + 1)
    ],
}
"""All requirements of V3.3, V7, V9 and V11 in ASVS 5.0.0, and those of V3.5 that are about forged requests."""


def items_of(cell: str) -> list[str]:
    first, to, last = cell.partition(" to ")
    if not to:
        return cell.split(", ")
    section = first.rpartition(".")[0]
    return [f"{section}.{n}" for n in range(int(first[-1]), int(last[-1]) + 1)]


@pytest.mark.parametrize("chapter", ITEMS)
def test_each_item_of_the_standard_is_answered(chapter: str) -> None:
    found = rows(chapter)
    assert [item for row in found for item in items_of(row[0])] == ITEMS[chapter]
    for item, how, *_ in found:
        assert how, item
        if how.startswith("not "):
            assert ": " in how, "with the reason"


def test_what_is_not_met_is_said() -> None:
    """A table in which everything is met would be one that nobody has looked at."""
    told = [how for chapter in ITEMS for _, how, *_ in rows(chapter)]
    assert [how for how in told if how.startswith("not met: ") or "In part: " in how]
