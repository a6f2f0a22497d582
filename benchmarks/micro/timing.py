"""What the fixture `benchmark` is to those who use it: the plugin has no types."""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

Answer = TypeVar("Answer")


class Benchmark(Protocol):
    """Calls a function again and again, and returns one of its answers."""

    def __call__(self, function: Callable[..., Answer], /, *arguments: Any) -> Answer: ...
