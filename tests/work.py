"""Work as it is counted in tests: time depends on the machine."""

import sys
from collections.abc import Callable


def calls_of(action: Callable[[], object]) -> int:
    """Count what is called: functions of Python's and of the libraries in C."""
    count = 0

    def note(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(before)
    return count
