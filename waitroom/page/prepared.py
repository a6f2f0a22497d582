"""A page that was rendered once, with gaps where it tells of its visitor.

The template is rendered with marks in place of what differs from visitor to visitor; what lies between the marks is the
same for all of them, and is joined with the visitor's own.
"""

import re
from collections.abc import Mapping
from typing import NoReturn

FIRST_MARK = 0x10F000
"""In plane 16, which is for private use: no font or text that a page is made of has any business there."""


def mark(at: int, length: int = 1) -> str:
    """Make the mark of a gap, as long as what it stands for where the template may ask for the length."""
    return chr(FIRST_MARK + at) * length


class Gap:
    """Stands in a template for what will be filled in, and notes whether the template did more with it than print it.

    Printing asks for its HTML; whatever else a template or a filter does with a value begins with another method here,
    or fails.
    """

    def __init__(self, text: str, has_length: bool) -> None:
        self._mark = text
        self._has_length = has_length
        self.is_looked_at: bool = False

    def __html__(self) -> str:
        return self._mark

    def __bool__(self) -> bool:
        self.is_looked_at |= not self._has_length
        return True

    def __len__(self) -> int:
        self.is_looked_at |= not self._has_length
        return len(self._mark)

    def __getattr__(self, name: str) -> NoReturn:
        self.is_looked_at = True
        raise AttributeError(name)


def _look(gap: Gap, *_: object) -> NoReturn:
    gap.is_looked_at = True
    raise TypeError("a gap can only be printed")


for _use in ("str", "int", "float", "iter", "getitem", "eq", "ne", "lt", "le", "gt", "ge", "hash"):
    setattr(Gap, f"__{_use}__", _look)  # those that every object has, and those of numbers and texts


class Prepared:
    """One page's fixed pieces and, between them, its gaps, named by the `marks` that were rendered in their place."""

    def __init__(self, page: str, marks: Mapping[str, str]) -> None:
        named = {text: name for name, text in marks.items()}
        pieces = re.split(f"({'|'.join(map(re.escape, named))})", page)
        self._pieces = [piece.encode() for piece in pieces]
        self._gaps = [(at, named[pieces[at]]) for at in range(1, len(pieces), 2)]

    def fill(self, values: Mapping[str, str]) -> bytes:
        """Write the page of one visitor; `values` are HTML already."""
        pieces = self._pieces.copy()
        for at, name in self._gaps:
            pieces[at] = values[name].encode()
        return b"".join(pieces)
