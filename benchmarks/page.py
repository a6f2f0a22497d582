"""Writes the figures into a page of the documentation, between its marks."""

from pathlib import Path

from benchmarks.results import Results
from benchmarks.table import machine, report
from benchmarks.wrk import BenchmarkError

BEGIN, END = "<!-- figures: written by `make bench WRITE=1` -->\n", "<!-- end of figures -->"


def write_page(page: Path, results: Results) -> None:
    """Put a run's tables in place of the ones before. Raises BenchmarkError where the page has no marks."""
    before, found, rest = page.read_text("utf-8").partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not (found and ended):
        raise BenchmarkError(f"{page} has no marks to write between: {BEGIN.strip()} and {END}")
    page.write_text(f"{before}{BEGIN}\n{machine(results)}\n{report(results)}\n{END}{after}", "utf-8")
