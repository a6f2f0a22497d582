"""`make fuzz-paths`: spellings of protected paths against real servers, from a seed."""

import argparse
import re
import secrets
import sys
import time

from tests.conftest import SECRET
from tests.fuzzing.path_oracle import SERVERS, judge, open_site
from tests.fuzzing.spellings import spellings
from tests.stores import store

MOST_SHOWN = 20


def main() -> None:
    parser = argparse.ArgumentParser(prog="make fuzz-paths")
    parser.add_argument("--seed", type=int, default=None, help="the same seed makes the same spellings")
    parser.add_argument("--count", type=int, default=100_000, help="spellings; each server gets all of them")
    given = parser.parse_args()
    seed = secrets.randbelow(10**6) if given.seed is None else given.seed
    tried = list(spellings(seed, given.count))
    print(f"seed {seed}: {len(tried):,} spellings", flush=True)
    wrong, started = 0, time.monotonic()
    with store("valkey") as url:
        for at, (name, line) in enumerate(SERVERS.items()):
            began = time.monotonic()
            with open_site(line, url, SECRET, f"fuzz{at}") as (server, reached, passes):
                outcome = judge(server, reached, passes, tried)
            if re.search("Traceback|Exception|panicked", server.said):
                outcome.wrong.append(f"the server printed:\n{server.said[:4000]}")
            wrong += len(outcome.wrong)
            print(
                f"{name:20}{outcome.sent:>10,} requests{time.monotonic() - began:>7.0f} s  "
                f"understood by the site {outcome.understood:,}, public {outcome.public:,}, "
                f"wrong {len(outcome.wrong):,}  {dict(outcome.statuses)}",
                flush=True,
            )
            for told in outcome.wrong[:MOST_SHOWN]:
                print(f"  {told}")
    print(f"in all {time.monotonic() - started:.0f} s, wrong {wrong:,}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
