"""How many small faults in the pure parts the tests notice: `make mutants`.

mutmut (see `tool.mutmut` in pyproject.toml) makes one fault at a time and runs the tests that reach it. Printed
are the figures of each file and what survived; the exit status is 1 where a file has less than LEAST_KILLED.
"""

import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator

MUTMUT = [sys.executable, "-m", "mutmut"]
NOTICED = {"killed", "timeout"}
LEAST_KILLED = 0.95


def main() -> int:
    # What an earlier run has found out is not taken over: the tests may have changed since.
    shutil.rmtree("mutants", ignore_errors=True)
    run = subprocess.run([*MUTMUT, "run"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if run.returncode:
        print(run.stdout, file=sys.stderr)
        return run.returncode
    files: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for name, outcome in outcomes():
        files[name.partition(".x")[0].replace(".", "/") + ".py"][outcome] += 1
        if outcome not in NOTICED:
            print(said("show", name))
    for file, counts in sorted(files.items()):
        killed = sum(counts[outcome] for outcome in NOTICED)
        print(f"{file}: {counts.total()} mutants, {killed} killed, {share(counts):.1%}")
    return 0 if files and min(map(share, files.values())) >= LEAST_KILLED else 1


def outcomes() -> Iterator[tuple[str, str]]:
    """Each mutant's name, such as `waitroom.paths.readings.x_read__mutmut_2`, and what became of it."""
    for line in said("results", "--all", "true").splitlines():
        name, _, outcome = line.strip().partition(": ")
        yield name, outcome


def share(counts: Counter[str]) -> float:
    return sum(counts[outcome] for outcome in NOTICED) / counts.total()


def said(*command: str) -> str:
    return subprocess.run([*MUTMUT, *command], stdout=subprocess.PIPE, text=True, check=True).stdout


if __name__ == "__main__":
    sys.exit(main())
