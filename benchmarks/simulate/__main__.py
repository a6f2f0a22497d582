"""Simulate: `python -m benchmarks.simulate --scenario rate-30 --seed 1`."""

import argparse
import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.page import put
from benchmarks.simulate.baseline import simulate_baseline
from benchmarks.simulate.page import IN_USE, in_use
from benchmarks.simulate.processes import Server
from benchmarks.simulate.report import line_of, title, write_json
from benchmarks.simulate.runs import simulate
from benchmarks.simulate.scenarios import scenarios, shortened
from waitroom.store.embedded.server import share


def main(words: Sequence[str] | None = None) -> int:
    """Run what was asked for; 1 where a figure was not reached."""
    known = scenarios()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulate", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--scenario", action="append", choices=sorted(known), help="may be repeated; else all"
    )
    parser.add_argument("--seconds", type=float, default=math.inf, help="the most of each run (all of it)")
    parser.add_argument("--json", type=Path, help="a file for all figures")
    parser.add_argument("--plot", type=Path, help="a folder for the plots (needs matplotlib)")
    parser.add_argument("--write", type=Path, help="a page to write the table into, between its marks")
    told = parser.parse_args(words)
    outcomes, baselines = [], []
    with tempfile.TemporaryDirectory(prefix="waitroom-simulate-") as folder:
        store = share(Path(folder))
        server = Server(store.url)
        print(title())
        for name in told.scenario or known:
            scenario = shortened(known[name], told.seconds)
            outcomes.append(simulate(scenario, server, told.seed))
            baselines.append(simulate_baseline(scenario, store.url, told.seed))
            print(line_of(outcomes[-1], baselines[-1]), flush=True)
        print(f"a script call cost the store {server.microseconds_per_call():.0f} µs on average")
        server.close()
        store.close()
    if told.json:
        write_json(told.json, told.seed, outcomes, baselines)
    if told.write:
        put(told.write, [(*IN_USE, in_use(told.seed, outcomes, baselines))])
    if told.plot:
        from benchmarks.simulate.plot import draw

        for path in draw(told.plot, list(zip(outcomes, baselines, strict=True))):
            print(path)
    return int(any(outcome.share < outcome.scenario.reach for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
