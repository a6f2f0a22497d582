"""Run schedules: `python -m tests.simulation --seed 1 --count 1000`. One alone tells its story."""

import argparse
import logging
import sys
import tempfile
import time
from pathlib import Path

from tests import stores
from tests.simulation.parts import parts
from tests.simulation.runner import run_one
from tests.simulation.world import Server


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    arguments.add_argument("--seed", type=int, default=1, help="the first schedule's")
    arguments.add_argument("--count", type=int, default=100_000, help="schedules")
    arguments.add_argument(
        "--tell", action="store_true", help="tell what happened in each, also where all is well"
    )
    arguments.add_argument(
        "--go-on", action="store_true", help="do not end at the first promise that is broken"
    )
    told = arguments.parse_args()
    logging.disable()
    began, broken, calls = time.monotonic(), 0, 0
    with (
        tempfile.TemporaryDirectory(prefix="waitroom-simulation-") as folder,
        stores.valkey(Path(folder)) as url,
    ):
        server = Server(url)
        for seed in range(told.seed, told.seed + told.count):
            outcome = run_one(server, seed, parts(), tells=told.count == 1)
            calls += outcome.calls
            if (seed - told.seed + 1) % 10_000 == 0:
                print(f"{seed - told.seed + 1} schedules, {broken} with a broken promise", file=sys.stderr)
            if outcome.broken:
                broken += 1
            if outcome.broken or told.count == 1:
                if not told.go_on:
                    print(outcome.story)
                print(f"seed {seed}: {outcome.broken or 'all promises were kept'}", flush=True)
            if outcome.broken and not told.go_on:
                print(f"play it again: make simulate-faults SEED={seed} N=1")
                break
        server.close()
    seconds = time.monotonic() - began
    ran = seed - told.seed + 1
    print(f"{ran} schedules, {calls} calls of scripts, {broken} with a broken promise, {seconds:.0f} s")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
