"""The tables, as Markdown."""

from collections.abc import Iterable, Sequence

from benchmarks.results import Cost, Flash, Latency, Results, Spread, Waiting, differences, ratios

Row = Sequence[str]


def report(results: Results) -> str:
    """Write all tables of a run but that of `flash_report`; nothing where it has measured nothing of them."""
    parts = []
    for server in dict.fromkeys(cost.server for cost in results.costs):
        rows = [_cost_row(results, cost) for cost in results.costs if cost.server == server]
        parts.append(f"**{server}**\n\n{grid(COST_HEAD, rows)}")
    if results.latencies:
        parts.append(grid(LATENCY_HEAD, _latency_rows(results.latencies)))
    if results.waiting:
        parts.append(grid(WAITING_HEAD, map(_waiting_row, results.waiting)))
    return "\n".join(parts)


def flash_report(results: Results) -> str:
    """Write the table of flash crowds; nothing where none was measured."""
    return grid(FLASH_HEAD, map(_flash_row, results.flashes)) if results.flashes else ""


def machine(results: Results) -> str:
    """Tell in one paragraph what the figures were measured on, and how."""
    facts = "; ".join(f"{name} {value}" for name, value in results.machine.items())
    how = "; ".join(f"{name} {value}" for name, value in results.settings.items())
    return f"Measured on: {facts}.\nRun: {how}.\n"


def grid(head: Row, rows: Iterable[Row]) -> str:
    """Lay out a table; all columns but the first hold figures."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


COST_HEAD = (
    "request",
    "µs of CPU, gate",
    "µs, store",
    "baseline, µs",
    "adds, µs",
    "ratio",
    "store calls",
    "requests/s",
)


def _cost_row(results: Results, cost: Cost) -> Row:
    gate, store = Spread.of(cost.gate), Spread.of(cost.store)
    cells = [cost.case, gate.text(), f"{store.median:.1f}"]
    baseline = results.baseline(cost)
    if baseline is cost:
        cells += ["–", "–", "1"]
    else:
        beside = Spread.of(baseline.whole)
        added = Spread.of(differences(cost.whole, baseline.whole))
        ratio = Spread.of(ratios(cost.whole, baseline.whole))
        cells += [f"{beside.median:.1f}", added.text(), f"{ratio.median:.2f}"]
    return [*cells, f"{Spread.of(cost.calls).median:.2f}", f"{Spread.of(cost.rate).median:,.0f}"]


LATENCY_HEAD = ("admitted requests", "median, ms", "p99, ms", "p99, ratio to idle")


def _latency_rows(latencies: Sequence[Latency]) -> Iterable[Row]:
    idle = {one.server: one for one in latencies if not one.polling}
    for one in latencies:
        name = f"{one.server}, {one.polling:,} polling" if one.polling else f"{one.server}, idle"
        ratio = Spread.of(ratios(one.p99, idle[one.server].p99))
        in_ms = (Spread.of([sample / 1000 for sample in samples]).text(2) for samples in (one.p50, one.p99))
        yield [name, *in_ms, f"{ratio.median:.2f}"]


WAITING_HEAD = (
    "waiting",
    "room's keys, bytes",
    "store's growth, bytes",
    "sorted set, bytes",
    "`/status`, µs",
    "`/window`, µs",
    "bare app, µs",
)


def _waiting_row(one: Waiting) -> Row:
    sizes = [f"{size:,}" for size in (one.waiting, one.keys, one.used, one.sorted_set)]
    return [*sizes, *(Spread.of(samples).text() for samples in (one.status, one.window, one.bare))]


FLASH_HEAD = (
    "crowd",
    "median, ms",
    "p99, ms",
    "longest, ms",
    "all answered, s",
    "µs of CPU, gate",
    "µs, store",
    "store calls",
    "memory, MB",
    "grows by, KB each",
    "refused",
    "lost",
    "sent again",
)


def _flash_row(one: Flash) -> Row:
    latencies = [
        Spread.of([s * 1000 for s in samples]).text(0) for samples in (one.p50, one.p99, one.longest)
    ]
    costs = [Spread.of(samples).median for samples in (one.gate, one.store, one.calls)]
    digits = (0, 1, 3)
    # Where they ask on, most of it was for something else than numbers.
    cells = ["–" if one.again else f"{cost:.{after}f}" for cost, after in zip(costs, digits, strict=True)]
    each = Spread.of([grown / one.connections / 1000 for grown in one.grown])
    counts = [f"{max(samples):,}" for samples in (one.refused, one.lost, one.resent)]
    return [
        _crowd(one),
        *latencies,
        Spread.of(one.answered).text(2),
        *cells,
        f"{Spread.of([memory / 1e6 for memory in one.memory]).median:.0f}",
        f"{each.median:.1f}",
        *counts,
    ]


def _crowd(one: Flash) -> str:
    flags = f" `{one.flags}`" if one.flags else ""
    again = ", who ask on" if one.again else ""
    return f"{one.server}{flags}: {one.connections:,} in {one.seconds:g} s{again}"
