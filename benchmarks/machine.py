"""The machine: its cores, who runs on which, what CPU time processes took, and what is installed."""

import os
import platform
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (
    "uvicorn",
    "uvloop",
    "httptools",
    "granian",
    "starlette",
    "redis",
    "hiredis",
    "itsdangerous",
    "jinja2",
)


class Cores:
    """One core for the server that is measured, another for all else; where there is one core, that."""

    def __init__(self) -> None:
        usable = sorted(os.sched_getaffinity(0))
        self.server = usable[-1]
        self.others = usable[0]

    def __str__(self) -> str:
        return f"server on core {self.server}, wrk and store on core {self.others}"


def pin(pid: int, core: int) -> None:
    """Keep a process, its children and all their threads on one core."""
    for process in family(pid):
        for thread in process.threads():
            with suppress(ProcessLookupError):
                os.sched_setaffinity(thread.id, {core})


def family(pid: int) -> list[psutil.Process]:
    """A process and all its children."""
    first = psutil.Process(pid)
    return [first, *first.children(recursive=True)]


def cpu_seconds(pid: int) -> float:
    """User and system time that a process and its children have taken, in seconds.

    In nanoseconds where the kernel keeps them so; `/proc/<pid>/stat` counts hundredths of a second.
    """
    return sum(_seconds(process) for process in family(pid))


def _seconds(process: psutil.Process) -> float:
    try:
        threads = list(Path(f"/proc/{process.pid}/task").glob("*/schedstat"))
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9
    except OSError:
        times = process.cpu_times()
        return times.user + times.system


def peak_memory(pid: int) -> int:
    """Most bytes that a process and its children have had in memory so far, each by itself."""
    return sum(_peak(process) for process in family(pid))


def _peak(process: psutil.Process) -> int:
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) * 1024


def described() -> dict[str, str]:
    """What a figure depends on besides the code: it stands beside the figures."""
    facts = {
        "CPU": f"{os.cpu_count()} × {_cpu()}",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "commit": _commit(),
    }
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            facts[package] = version(package)
    return facts


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def _commit() -> str:
    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "waitroom", "templates")
    return (git("rev-parse", "--short=12", "HEAD") or "unknown") + (" and changes" if changed else "")
