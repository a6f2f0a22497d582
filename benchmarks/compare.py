"""Two runs against each other: what changed, and which changes are more than noise."""

from benchmarks.results import Cost, Results, Spread, ratios
from benchmarks.table import grid

HEAD = ("request", "A, µs", "B, µs", "change", "A, × baseline", "B, × baseline", "")


def compare(a: Results, b: Results) -> str:
    """Write a table of all cases that both have; then what only one of them has.

    A change is more than noise where neither the costs nor their ratios to the bare app, which was measured in the
    same minutes, have a value in common. Of what was measured once nothing can be told.
    """
    told = [f"A: commit {a.machine['commit']}, B: commit {b.machine['commit']}"]
    told += [
        f"{name} differs: {a.machine.get(name)}, {b.machine.get(name)}" for name in sorted(_different(a, b))
    ]
    rows = {server: [] for server in dict.fromkeys(cost.server for cost in a.costs)}  # type: dict[str, list[list[str]]]
    for cost in a.costs:
        other = b.cost(cost.server, cost.case)
        if other is not None:
            rows[cost.server].append(_row(a, cost, b, other))
    told += [f"\n**{server}**\n\n{grid(HEAD, found)}" for server, found in rows.items() if found]
    told += [
        f"only in A: {cost.server}, {cost.case}" for cost in a.costs if not b.cost(cost.server, cost.case)
    ]
    told += [
        f"only in B: {cost.server}, {cost.case}" for cost in b.costs if not a.cost(cost.server, cost.case)
    ]
    return "\n".join(told)


def _different(a: Results, b: Results) -> set[str]:
    names = a.machine.keys() | b.machine.keys()
    return {name for name in names - {"commit"} if a.machine.get(name) != b.machine.get(name)}


def _row(a: Results, one: Cost, b: Results, other: Cost) -> list[str]:
    before, after = Spread.of(one.whole), Spread.of(other.whole)
    ratio_before, ratio_after = _ratio(a, one), _ratio(b, other)
    noise = before.overlaps(after) or ratio_before.overlaps(ratio_after)
    if one.case == one.baseline:
        noise = before.overlaps(after)
    once = min(len(one.whole), len(other.whole)) < 2
    change = f"{(after.median / before.median - 1) * 100:+.0f} %"
    verdict = "slower" if after.median > before.median else "faster"
    if noise or once:
        verdict = "measured once" if once else "within the spread"
    return [one.case, before.text(), after.text(), change, ratio_before.text(2), ratio_after.text(2), verdict]


def _ratio(results: Results, cost: Cost) -> Spread:
    return Spread.of(ratios(cost.whole, results.baseline(cost).whole))
