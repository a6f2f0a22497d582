"""`make fuzz-bytes`: each harness under atheris, led by the coverage of waitroom's code, N executions in all.

Each runs in a process of its own, one after the other. What breaks a harness is kept in a file, whose name is told;
`python -m tests.fuzzing.atheris_run --one NAME FILE` plays it again.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["waitroom"] if "--one" in sys.argv else ["none"]):
    from tests.fuzzing.harnesses import HARNESSES

KEPT = Path(".fuzzing")
"""Where the inputs go that broke something."""
SLOWEST_SECONDS = 20
"""For one input: longer is a failure."""


def run_one(name: str, arguments: list[str]) -> None:
    """Hand over to libFuzzer, which ends the process."""
    atheris.Setup([name, *arguments], HARNESSES[name].run)
    atheris.Fuzz()


def run_all(total: int, seed: int) -> int:
    """Run all harnesses and print what came of it; answers the exit status."""
    executions, started, failed = 0, time.monotonic(), []
    KEPT.mkdir(exist_ok=True)
    for name, harness in HARNESSES.items():
        runs = -(-total * harness.share // 100)
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="waitroom-fuzz-") as corpus:
            for at, data in enumerate(harness.seeds):
                Path(corpus, str(at)).write_bytes(data)
            ended = subprocess.run(
                [
                    *(sys.executable, "-m", "tests.fuzzing.atheris_run", "--one", name, corpus),
                    *(f"-runs={runs}", f"-seed={seed}", f"-max_len={harness.longest}"),
                    *(
                        f"-timeout={SLOWEST_SECONDS}",
                        f"-artifact_prefix={KEPT}/{name}-",
                        "-print_final_stats=1",
                    ),
                ],
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                check=False,
            )
        told = re.search(r"stat::number_of_executed_units:\s+(\d+)", ended.stderr)
        done = int(told[1]) if told else 0
        executions += done
        seconds = time.monotonic() - began
        print(
            f"{name:12}{done:>12,} executions{seconds:>8.0f} s  {'ok' if not ended.returncode else 'FAILED'}",
            flush=True,
        )
        if ended.returncode or done < runs:
            failed.append(name)
            print(ended.stderr[-6000:], file=sys.stderr)
    seconds = time.monotonic() - started
    print(f"{'in all':12}{executions:>12,} executions{seconds:>8.0f} s  seed {seed}, {len(failed)} failed")
    return 1 if failed else 0


def main() -> None:
    parser = argparse.ArgumentParser(prog="make fuzz-bytes")
    parser.add_argument("--total", type=int, default=10_000_000, help="executions in all")
    parser.add_argument("--seed", type=int, default=1, help="from 1; the same seed makes the same run")
    parser.add_argument("--one", choices=HARNESSES, help="this harness alone, with libFuzzer's own arguments")
    given, rest = parser.parse_known_args()
    if given.one:
        run_one(given.one, rest)
    elif rest:
        parser.error(f"unknown: {' '.join(rest)}")
    else:
        sys.exit(run_all(given.total, given.seed))


if __name__ == "__main__":
    main()
