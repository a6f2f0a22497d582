"""What the oracle writes down: the sessions that were ever granted, and what each history of the store accounts for."""

from dataclasses import dataclass, field
from typing import Any

Registers = dict[str, tuple[int, int, int]]
Place = tuple[str, int]
"""A rank: epoch and number."""


@dataclass
class Session:
    """A session that was granted to somebody, by whatever history of the store; times are the room's clock."""

    id: str
    place: Place
    entered_at: int
    pass_ends: int
    lasts: dict[int, tuple[int, int]] = field(default_factory=dict)
    """For each pass, by the ms at which it ends: the true times at which it was given and at which it should end."""
    is_over: bool = False
    """It left."""
    is_lent: bool = False
    """It was let in while the store was away, which has not heard of it."""
    is_first: bool = False
    """A first visit to which nobody has come back yet."""
    runs_until: int = 0
    """For so long its request is taken to run; then it gives way."""
    is_given_back: bool = False
    """It was no entry: nobody can have been told of it."""

    def is_idle(self, now: int) -> bool:
        """Whether it is a first visit that holds nothing against anybody."""
        return self.is_given_back or (self.is_first and self.runs_until <= now)


@dataclass
class View:
    """A script's first answer, read by the oracle itself."""

    now: int
    over: str
    epochs: Registers
    calling: str
    inside: int
    entered: int
    is_settling: bool

    @classmethod
    def read(cls, view: list[Any]) -> "View":
        epochs = {name: (int(issued), int(called), int(floor)) for name, issued, called, floor in view[3]}
        return cls(int(view[0]), view[2], epochs, view[4], view[5], view[10], bool(view[11]))

    @property
    def newest(self) -> str:
        return max(self.epochs)

    def called(self) -> Place:
        """The greatest rank ever called, as it is told; where nobody waits that is the newest epoch's last."""
        return self.calling, self.epochs[self.calling][1] if self.calling in self.epochs else 0


@dataclass
class Lineage:
    """What one history of the store has been told; it is copied with the store's contents, and lost with them."""

    clock: int = 0
    over: str = ""
    epochs: Registers = field(default_factory=dict)
    called: Place = ("", 0)
    opened: str = "new"
    """Who told of its last loss: "new" (nobody), "lost" (only its history), "processes" or "tickets"."""
    opened_at: int = 0
    settles_until: int = 0
    known: set[str] = field(default_factory=set)
    """Sessions that it accounts for, one by one or as some of those that it has forgotten."""
    own: dict[str, int] = field(default_factory=dict)
    """Of these, those that it has had one by one, and when their passes end as far as it knows."""
    used: dict[Place, int] = field(default_factory=dict)
    """When each ticket entered; 0: it left unused."""
    ended: set[str] = field(default_factory=set)
    blurred: set[str] = field(default_factory=set)
    """Sessions that it lost without a sign, before somebody who knew of none of them called."""
    unfeared: tuple[int, int] = (0, 0)
    """Sessions and entries beyond those that are feared where only tickets report: more than there may ever be."""
    valid: tuple[int, int] = (0, 0)
    """Sessions inside and entries of the interval when its newest epoch began, whoever knew of them.

    With those who had left by then and were given a place of those inside.
    """
    feared: int = 0
    """Where only tickets report: for how many inside places are kept."""
    known_at: int = 0
    """The latest clock of a process that told of its loss."""
    found: int = 0
    """How many of the forgotten have come back since."""
    lost_at: int = 0
    """The latest time that it knew of when its newest epoch began."""
    noticed: int = 0
    """How many losses there had been when its newest epoch began."""
    door: dict[Place, int] = field(default_factory=dict)
    """When those at the door last asked."""

    def copy(self) -> "Lineage":
        return Lineage(
            clock=self.clock,
            over=self.over,
            epochs=dict(self.epochs),
            called=self.called,
            opened=self.opened,
            opened_at=self.opened_at,
            settles_until=self.settles_until,
            known=set(self.known),
            own=dict(self.own),
            used=dict(self.used),
            ended=set(self.ended),
            blurred=set(self.blurred),
            unfeared=self.unfeared,
            valid=self.valid,
            feared=self.feared,
            known_at=self.known_at,
            found=self.found,
            lost_at=self.lost_at,
            noticed=self.noticed,
            door=dict(self.door),
        )


@dataclass
class Remembered:
    """What a process has heard: it has been answered, so that it must never be forgotten."""

    clock: int | None = None
    heard_at: int = 0
    """True time of the last answer."""
    unfeared: tuple[int, int] = (0, 0)
    losses: int = 0
    """How many times the store had lost something by then."""
    epochs: Registers = field(default_factory=dict)
    over: str = ""
    called: Place = ("", 0)
    known: set[str] = field(default_factory=set)
