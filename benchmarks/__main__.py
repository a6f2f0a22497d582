"""`python -m benchmarks run` measures, prints the tables and keeps the figures.

`report` prints those of a kept run again or writes them into the page, `compare` holds two runs against each other.
Ends with 1 where a server's answers were not what was to be measured, with 2 where something is not installed.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks import wrk
from benchmarks.cases import FULL, SMALL, all_cases, all_sites, all_stores, credentials
from benchmarks.compare import compare
from benchmarks.crowd import latencies
from benchmarks.flash import SOMAXCONN, Crowds, flashes
from benchmarks.machine import Cores, described
from benchmarks.measure import Plan, measure
from benchmarks.page import write_page
from benchmarks.pictures import draw
from benchmarks.results import Results
from benchmarks.servers import installed
from benchmarks.table import flash_report, machine, report
from benchmarks.waiting import LENGTHS, lines_of

PARTS = ("costs", "crowd", "waiting", "flash")


def main(words: Sequence[str] | None = None) -> int:
    """Do what the command line asks for; answers the exit status."""
    told = _parser().parse_args(words)
    if told.command == "compare":
        print(compare(Results.read(told.a), Results.read(told.b)))
        return 0
    if told.command == "report":
        _keep(told, Results.read(told.json))
        return 0
    if not wrk.is_here():
        print(wrk.MISSING, file=sys.stderr)
        return 2
    if unknown := set(told.servers) - set(installed()):
        print(f"not installed: {', '.join(unknown)}; there are: {', '.join(installed())}", file=sys.stderr)
        return 2
    results = Results(described(), {})
    try:
        run(told, results)
    except wrk.BenchmarkError as error:
        print(f"not measured: {error}", file=sys.stderr)
        return 1
    finally:  # also what was measured before something went wrong
        if told.json:
            results.write(told.json)
    _keep(told, results)
    return 0


def run(told: argparse.Namespace, results: Results) -> None:
    """Measure all parts that are asked for. Raises BenchmarkError."""
    cores = Cores()
    results.settings |= {"connections": 64, "seconds": f"{told.seconds:g}", "repeats": told.repeats}
    results.settings |= {"pinned": str(cores), "load as it began": _load()}
    with tempfile.TemporaryDirectory(prefix="waitroom-bench-") as temporary:
        plan = Plan(told.seconds, told.warm_up, told.repeats, cores, Path(temporary), _say)
        if "costs" in told.parts:
            _costs(told, plan, results)
        if "crowd" in told.parts:
            longer = replace(plan, seconds=told.crowd_seconds)
            for kind in told.servers:
                results.latencies += latencies(kind, told.pollers, told.poll_seconds, longer)
        if "waiting" in told.parts:
            results.waiting = lines_of(told.waiting, told.servers[0], plan)
        if "flash" in told.parts:
            results.settings["somaxconn"] = SOMAXCONN.read_text().strip()
            crowds = Crowds(told.flash, told.flash_seconds, told.flash_at_once)
            flashes(told.servers, crowds, plan, results.flashes)
    results.settings["load as it ended, its own 2 included"] = _load()


def _costs(told: argparse.Namespace, plan: Plan, results: Results) -> None:
    sizes, known = SMALL if told.small else FULL, None
    with all_stores(plan.folder, plan.cores) as stores:
        for kind in told.servers:
            plan.say(f"{kind}: starting" + ("" if known else ", and letting visitors come"))
            with all_sites(kind, plan.cores, stores) as running:
                known = known or credentials(running, sizes)
                cases = [case for case in all_cases(known, sizes) if case.is_bare or told.only in case.name]
                results.costs += measure(kind, cases, running, plan)


def _keep(told: argparse.Namespace, results: Results) -> None:
    print("\n".join(filter(None, (machine(results), report(results), flash_report(results)))))
    if told.write:
        write_page(told.write, results)
    if told.plots and results.waiting:
        told.plots.mkdir(parents=True, exist_ok=True)
        draw(results.waiting, told.plots)


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}"


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    asked = commands.add_parser("run", help="measure")
    asked.add_argument("--seconds", type=float, default=3, help="of each measurement (3)")
    asked.add_argument("--repeats", type=int, default=5, help="of all cases (5)")
    asked.add_argument(
        "--warm-up", type=float, default=1, help="seconds for each case before the first repeat (1)"
    )
    asked.add_argument("--servers", nargs="+", default=installed(), help=f"of: {', '.join(installed())}")
    asked.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="all")
    asked.add_argument("--only", default="", help="cases that have this in their names, and the bare app")
    asked.add_argument("--pollers", type=int, default=2000, help="connections that poll (2000)")
    asked.add_argument("--poll-seconds", type=float, default=5, help="between two polls of one (5)")
    asked.add_argument("--crowd-seconds", type=float, default=10, help="of each measurement beside them (10)")
    asked.add_argument("--waiting", type=int, nargs="+", default=LENGTHS, help="lengths of the line")
    asked.add_argument("--flash", type=int, default=5000, help="connections that come within seconds (5000)")
    asked.add_argument("--flash-seconds", type=float, default=2, help="in which they come (2)")
    asked.add_argument("--flash-at-once", type=int, default=2000, help="connections that come at once (2000)")
    asked.add_argument("--small", action="store_true", help="few visitors: a try of the tool itself")
    asked.add_argument("--json", type=Path, help="a file to keep the figures in")
    again = commands.add_parser("report", help="a file that --json has written")
    again.add_argument("json", type=Path)
    for one in (asked, again):
        one.add_argument("--write", type=Path, help="a page to write the tables into, between its marks")
        one.add_argument("--plots", type=Path, help="a folder to draw the pictures in")
    compared = commands.add_parser("compare", help="two files that --json has written")
    compared.add_argument("a", type=Path)
    compared.add_argument("b", type=Path)
    return parser


if __name__ == "__main__":
    sys.exit(main())
