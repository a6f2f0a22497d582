"""Writes the figures into a page of the documentation, between its marks."""

from collections.abc import Iterable
from pathlib import Path

from benchmarks.results import Results
from benchmarks.table import flash_report, machine, report
from benchmarks.wrk import BenchmarkError

BEGIN, END = "<!-- figures: written by `make bench WRITE=1` -->\n", "<!-- end of figures -->"
FLASH_BEGIN = "<!-- figures of a flash crowd: written by `make bench WRITE=1` -->\n"
"""They have a place of their own: a run may have measured only them, or all else."""


def write_page(page: Path, results: Results) -> None:
    """Put a run's tables in place of the ones before. Raises BenchmarkError where the page has no marks for them."""
    parts = ((BEGIN, report(results)), (FLASH_BEGIN, flash_report(results)))
    put(page, [(begin, END, f"{machine(results)}\n{tables}") for begin, tables in parts if tables])


def put(page: Path, sections: Iterable[tuple[str, str, str]]) -> None:
    """Put what stands last in each section between its two marks, in place of what was there.

    Raises BenchmarkError, and writes nothing, where the page lacks a mark.
    """
    text = page.read_text("utf-8")
    for begin, end, section in sections:
        before, found, rest = text.partition(begin)
        _, ended, after = rest.partition(end)
        if not (found and ended):
            raise BenchmarkError(f"{page} has no marks to write between: {begin.strip()} and {end}")
        text = f"{before}{begin}\n{section}\n{end}{after}"
    page.write_text(text, "utf-8")
