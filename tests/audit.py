"""Look up known holes in what the image installs: `python -m tests.audit deploy/requirements.txt` (`make audit`).

Ends with 1 where there are any. Where the database can't be reached it says so in a line and ends with 0: that a
machine is offline says nothing about the dependencies.
"""

import argparse
import json
import subprocess
import sys
import urllib.request

DATABASE = "https://api.osv.dev/v1/query"
"""PyPI's own is no use behind a mirror: pip-audit passes over what it does not find there, without a failure."""
SECONDS = 15


def unreachable(url: str) -> str | None:
    """Ask the database for something; answers why it can't be asked, or None."""
    query = {"package": {"name": "pip", "ecosystem": "PyPI"}, "version": "25.1"}
    try:
        with urllib.request.urlopen(url, json.dumps(query).encode(), timeout=SECONDS) as answer:
            json.load(answer)
    except (OSError, ValueError) as error:  # a URLError is an OSError
        return " ".join(str(error).split()) or type(error).__name__
    return None


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("requirements")
    parser.add_argument("--database", default=DATABASE)
    asked = parser.parse_args(arguments)
    why = unreachable(asked.database)
    if why:
        print(f"audit: nothing was audited, as {asked.database} can't be asked from here: {why}")
        return 0
    command = [sys.executable, "-m", "pip_audit", "--requirement", asked.requirements]
    # Every version is pinned, so nothing has to be resolved or installed; one that can't be looked up is a failure.
    command += ["--require-hashes", "--disable-pip", "--strict", "--progress-spinner", "off"]
    command += ["--vulnerability-service", "osv", "--osv-url", asked.database]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
