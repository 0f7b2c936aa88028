"""Turns a report into text that fits a terminal and a Markdown page. Pure."""

from collections.abc import Sequence

from dev.bench.bars import Bar
from dev.bench.results import After, Creation, Report


def render(report: Report, bars: Sequence[Bar]) -> str:
    """Return the whole text: what was created, what came after, requests in detail, bars, notes."""
    parts = [_environment(report), _creations(report.creations)]
    if report.after is not None:
        parts.append(_after(report.after))
    parts += [_requests(report.creations), _bars(bars)]
    if report.notes:
        parts.append("\n".join(f"note: {note}" for note in report.notes))
    return "\n\n".join(part for part in parts if part)


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose columns line up: the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]

    def line(row: Sequence[str]) -> str:
        cells = [
            text.ljust(width) if not i else text.rjust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        return f"| {' | '.join(cells)} |"

    rule = [("-" * width) if not column else f"{'-' * (width - 1)}:" for column, width in enumerate(widths)]
    return "\n".join([line(head), line(rule), *map(line, rows)])


def _environment(report: Report) -> str:
    return "\n".join(f"{key}: {value}" for key, value in report.environment.items())


def _creations(creations: Sequence[Creation]) -> str:
    head = ["", *(f"N = {creation.count}" for creation in creations)]
    rows = [
        ("children of one resource", *(str(c.children) for c in creations)),
        ("client alone: seconds, each run", *(" ".join(f"{r.seconds:.1f}" for r in c.baselines) for c in creations)),
        ("operator: seconds to all Ready", *(f"{c.run.seconds:.1f}" for c in creations)),
        ("  ratio", *("-" if c.ratio is None else f"{c.ratio:.2f} x" for c in creations)),
        *_spread(creations, "ratio"),
        ("operator: requests per resource", *(f"{c.requests_each:.2f}" for c in creations)),
        ("  of them writes", *(f"{c.requests.writes / c.count:.2f}" for c in creations)),
        ("  refused, all together", *(str(c.requests.refused) for c in creations)),
        ("operator: CPU ms per resource", *(f"{c.cpu_millis_middle:.1f}" for c in creations)),
        *_spread(creations, "cpu_millis_each"),
        ("operator: CPU s, of which start", *(_cpu(c) for c in creations)),
        ("operator: peak memory MiB (at start)", *(f"{c.peak_mib:.0f} ({c.start_mib:.0f})" for c in creations)),
        ("control plane: CPU s, client alone", *(_plane_alone(c) for c in creations)),
        ("control plane: CPU s, operator", *(f"{sum(c.run.plane_cpu.values()):.1f}" for c in creations)),
        ("load average at the start of each run", *(_loads(c) for c in creations)),
    ]
    return grid(head, rows) if creations else ""


def _spread(creations: Sequence[Creation], number: str) -> list[tuple[str, ...]]:
    """Return a row with a number of each run, if a size was run several times."""
    if not any(creation.repeated for creation in creations):
        return []
    each = (" ".join(f"{getattr(run, number) or 0:.2f}" for run in creation.runs) for creation in creations)
    return [("  of each run, the median counts", *each)]


def _cpu(creation: Creation) -> str:
    return f"{creation.cpu_seconds + creation.start_cpu_seconds:.1f} ({creation.start_cpu_seconds:.1f})"


def _plane_alone(creation: Creation) -> str:
    return " ".join(f"{sum(run.plane_cpu.values()):.1f}" for run in creation.baselines)


def _loads(creation: Creation) -> str:
    runs = (*creation.baselines[:1], creation.run, *creation.baselines[1:])
    return " ".join(f"{run.load:.1f}" for run in runs)


def _after(after: After) -> str:
    rows: list[tuple[str, str]] = []
    if after.idle is not None:
        idle = after.idle
        rows += [
            (f"idle for {idle.seconds:.0f} s: requests beyond watch, list, Lease", str(idle.requests.beyond_upkeep)),
            ("  watches, lists, Lease", f"{idle.requests.watches}, {idle.requests.lists}, {idle.requests.leases}"),
            ("  CPU seconds", f"{idle.cpu_seconds:.2f}"),
        ]
    if after.restart is not None:
        restart = after.restart
        rows += [
            ("restart: writes", str(restart.requests.writes)),
            ("  watches, lists, other reads", _reads(after)),
            ("  seconds until quiet, CPU seconds", f"{restart.seconds:.1f}, {restart.cpu_seconds:.2f}"),
            ("  peak memory MiB", f"{restart.peak_mib:.0f}"),
        ]
    if after.change is not None:
        change = after.change
        rows.append((f"template change on {change.count}: seconds to all Ready", f"{change.seconds:.1f}"))
        rows += [(f"  {label} each", f"{n / change.count:.2f}") for label, n in change.requests.requests.items()]
    if after.returns is not None:
        for kind, times in after.returns.seconds.items():
            middle = sorted(times)[len(times) // 2]
            rows.append((f"deleted {kind} back: median, longest s", f"{middle:.3f}, {max(times):.3f}"))
    return grid(("", f"N = {after.count}"), rows) if rows else ""


def _reads(after: After) -> str:
    if after.restart is None:
        return ""
    requests = after.restart.requests
    return f"{requests.watches}, {requests.lists}, {requests.beyond_upkeep - requests.writes}"


def _requests(creations: Sequence[Creation]) -> str:
    labels = sorted({label for creation in creations for label in creation.requests.requests})
    rows = [(label, *(f"{c.requests.requests.get(label, 0) / c.count:.3f}" for c in creations)) for label in labels]
    return grid(("operator's requests per resource", *(f"N = {c.count}" for c in creations)), rows) if rows else ""


def _bars(bars: Sequence[Bar]) -> str:
    rows = [(bar.name, _number(bar.value, bar.unit), _limit(bar), _verdict(bar)) for bar in bars]
    return grid(("bar", "measured", "limit", ""), rows) if rows else ""


def _number(value: float, unit: str) -> str:
    text = f"{value:.0f}" if value == int(value) else f"{value:.3g}"
    return f"{text} {unit}".rstrip()


def _limit(bar: Bar) -> str:
    return f"{'<' if bar.strict else '<='} {_number(bar.limit, bar.unit)}"


def _verdict(bar: Bar) -> str:
    if not bar.kept:
        return "FAIL"
    return f"pass (and <= {bar.stretch:g})" if bar.stretched else "pass"
