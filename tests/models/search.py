"""Breadth-first search: every state that can be reached, once, and the shortest way to one that is wrong."""

import gc
import time
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import TypeVar

S = TypeVar("S", bound=Hashable)
T = TypeVar("T")


def put(items: tuple[T, ...], index: int, item: T) -> tuple[T, ...]:
    """The same tuple with one item replaced."""
    return (*items[:index], item, *items[index + 1 :])


@dataclass(frozen=True)
class Found:
    """What a search came to; `trace` is empty where nothing was wrong."""

    states: int
    transitions: int
    depth: int
    seconds: float
    complete: bool
    wrong: str
    trace: tuple[str, ...]


def search(start: S, steps: Callable[[S], Iterable[tuple[str, S, str]]], most: int = 10_000_000) -> Found:
    """`steps` says of a state: what may happen, in words; the state then; what is wrong with it, or "".

    Go on until all is seen, something is wrong, or `most` states are known."""
    gc.disable()  # states are tuples without cycles, and millions of them: looking for some takes minutes
    begun = time.process_time()
    came_from: dict[S, tuple[S, str] | None] = {start: None}
    edge, depth, transitions = [start], 0, 0

    def found(complete: bool, wrong: str = "", trace: tuple[str, ...] = ()) -> Found:
        gc.enable()
        seconds = time.process_time() - begun
        return Found(len(came_from), transitions, depth, seconds, complete, wrong, trace)

    while edge:
        depth += 1
        following = []
        for state in edge:
            for words, after, wrong in steps(state):
                transitions += 1
                if wrong:
                    return found(False, wrong, (*_way_to(state, came_from), words))
                if after not in came_from:
                    came_from[after] = (state, words)
                    following.append(after)
            if len(came_from) >= most:
                return found(False)
        edge = following
    return found(True)


def _way_to(state: S, came_from: dict[S, tuple[S, str] | None]) -> list[str]:
    way = []
    while step := came_from[state]:
        state, words = step
        way.append(words)
    return way[::-1]
