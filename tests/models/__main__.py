"""`make model`: search the models as far as they go, and show what other designs come to."""

import resource
import sys
from dataclasses import asdict, dataclass, fields

from tests.models.inside import Sessions
from tests.models.line import Line
from tests.models.search import Found, search

Model = Line | Sessions
MOST = 1_000_000
"""States after which a search ends that has no end of its own within minutes; they take some 0.8 GB."""


@dataclass(frozen=True)
class Case:
    """A model to be searched, and in words what is special about it."""

    words: str
    model: Model
    most: int = MOST


SCHEME = (
    Case("the line", Line(joins=2, faults=2)),
    Case("the line", Line(joins=3, faults=1)),
    Case("the line", Line(joins=4, faults=2)),
    Case("the line, INFO forbidden", Line(joins=3, faults=1, history=False, tells_first=True)),
    Case("the line, the store's clock goes back", Line(joins=2, faults=1, clock_backs=1)),
    Case("those inside", Sessions(capacity=1, lease=2, entries=3)),
    Case("those inside", Sessions(capacity=1, lease=3, entries=2)),
    Case(
        "those inside, INFO forbidden",
        Sessions(capacity=1, lease=2, history=False, tells_first=True, entries=3),
    ),
    Case("those inside", Sessions(capacity=2, lease=2, entries=3), 300_000),
)
"""What the scripts do. Nothing may be wrong with it."""

DESIGNS = (
    Case("a plain counter", Line(on_loss="nothing")),
    Case("the counter goes on from the highest that is known", Line(on_loss="maximum")),
    Case("the counter goes on some numbers further, to be safe", Line(on_loss="gap")),
    Case("an epoch is the one before plus 1", Line(stamp="stored")),
    Case("an epoch is the one before plus 1 and a random tag: no clock in it", Line(stamp="next")),
    Case("calling goes on at once: nobody waits for those who came before", Line(settles=False)),
    Case(
        "INFO is forbidden, and a later time proves no loss",
        Line(history=False, tells_first=True, clock_proves=False),
    ),
    Case("sessions that the store forgot do not count", Sessions(counts_ghosts=False)),
    Case("they count, but not in what processes see as inside", Sessions(shows_ghosts=False)),
    Case("they count as what was found, where no process remembers", Sessions(capacity=1, fears_all=False)),
    Case(
        "leases are left as the replica has them", Sessions(capacity=1, faults=1, processes=1, prolongs=False)
    ),
)
"""What would be simpler. Each has to be found wrong."""

LIMITS = (
    Case("who first calls an emptied store remembers nothing", Line(new_rooms=True)),
    Case("the same, for those inside", Sessions(new_rooms=True)),
    Case("INFO is forbidden, and one speaks first who knows nothing of what was lost", Line(history=False)),
    Case("a visitor is away while the room settles and until the epoch is over", Line(prompt=False)),
    Case("a call that only the process that died had seen", Line(joins=1, processes=1, remembered=False)),
    Case("the process that saw most inside died", Sessions(capacity=1, dies=True)),
    Case("a process speaks only after the room has settled", Sessions(settles_for_all=False)),
)
"""What the scheme cannot hold: each is assumed away above, and would be found wrong without that."""


def run(case: Case) -> Found:
    model = case.model
    if isinstance(model, Line):
        return search(model.start(), model.steps, case.most)
    return search(model.start(), model.steps, case.most)


def bound(model: Model) -> str:
    """What differs from the model as it stands, as the code has it."""
    usual = asdict(type(model)())
    sizes = [
        each for each in ("joins", "capacity", "lease", "entries", "faults", "processes") if each in usual
    ]
    told = [f"{getattr(model, each)} {each}" for each in sizes]
    others = [each.name for each in fields(model) if each.name not in sizes]
    told += [f"{each}={getattr(model, each)}" for each in others if getattr(model, each) != usual[each]]
    return ", ".join(told)


def _show(case: Case, found: Found) -> None:
    how = "all of it" if found.complete else f"complete to depth {found.depth - 1}"
    if found.wrong:
        how = f"WRONG at depth {found.depth}"
    print(f"\n{case.words} ({bound(case.model)})")
    print(
        f"  {found.states:,} states, {found.transitions:,} transitions, depth {found.depth}, "
        f"{found.seconds:.1f} s of CPU: {how}"
    )
    for number, step in enumerate(found.trace, 1):
        print(f"    {number} {step}")
    if found.wrong:
        print(f"    => {found.wrong}")
    sys.stdout.flush()


def _search_all(title: str, cases: tuple[Case, ...]) -> list[Found]:
    print(f"\n== {title}")
    results = []
    for case in cases:
        results.append(run(case))
        _show(case, results[-1])
    return results


def main() -> int:
    """Exit status 1 where the scheme is wrong, or a simpler design is not."""
    designs = _search_all("Simpler designs, and how each goes wrong", DESIGNS)
    limits = _search_all("What is assumed, and what happens without it", LIMITS)
    scheme = _search_all("The scheme", SCHEME)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"\nThe scheme: {sum(each.states for each in scheme):,} states, "
        f"{sum(each.transitions for each in scheme):,} transitions, "
        f"{sum(each.seconds for each in scheme):.0f} s of CPU; {memory:.1f} GB at most."
    )
    wrong = [each.wrong for each in scheme if each.wrong]
    missed = [
        case.words for case, each in zip(DESIGNS + LIMITS, designs + limits, strict=True) if not each.wrong
    ]
    print(f"Wrong: {', '.join(wrong) or 'nothing'}. Not found wrong: {', '.join(missed) or 'none'}.")
    return 1 if wrong or missed else 0


if __name__ == "__main__":
    sys.exit(main())
