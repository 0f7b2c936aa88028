"""The bars: limits that the operator has to keep, and whether a report keeps them. Pure."""

from dataclasses import dataclass

from dev.bench.results import After, Change, Creation, Report, Returns

RATIO, RATIO_STRETCH = 1.5, 1.3
CPU_MILLIS = 22.0
RETURN_SECONDS = 0.5
REQUESTS_BEYOND_CHILDREN = 2
MEMORY_MIB = ((500, 110.0), (1000, 160.0))
"""Up to this many resources, this much resident memory."""


@dataclass(frozen=True)
class Bar:
    """One limit and what was measured.

    Attributes:
        strict: the value must stay below the limit; otherwise it may reach it.
        stretch: a better value that is aimed at.
    """

    name: str
    value: float
    limit: float
    unit: str = ""
    strict: bool = False
    stretch: float | None = None

    @property
    def kept(self) -> bool:
        """Tell whether the bar is kept."""
        return self.value < self.limit if self.strict else self.value <= self.limit + 1e-9

    @property
    def stretched(self) -> bool:
        """Tell whether there is a better value to aim at and it is reached."""
        return self.stretch is not None and self.value <= self.stretch


def evaluate(report: Report) -> tuple[Bar, ...]:
    """Return the bars that the report has numbers for."""
    bars = [bar for creation in report.creations for bar in _creation(creation)]
    return (*bars, *(_after(report.after) if report.after else ()))


def _creation(creation: Creation) -> list[Bar]:
    n = creation.count
    bars = [
        Bar(
            f"N={n}: requests per resource",
            creation.requests_each,
            creation.children + REQUESTS_BEYOND_CHILDREN,
        ),
        Bar(f"N={n}: requests that are no writes", creation.requests.reads, 0),
        Bar(f"N={n}: operator CPU per resource", creation.cpu_millis_middle, CPU_MILLIS, "ms"),
    ]
    if creation.ratio is not None:
        bars.append(Bar(f"N={n}: seconds to all Ready / baseline", creation.ratio, RATIO, "x", stretch=RATIO_STRETCH))
    limit = next((mib for count, mib in MEMORY_MIB if n <= count), None)
    if limit is not None:
        bars.append(Bar(f"N={n}: operator peak memory", creation.peak_mib, limit, "MiB"))
    return bars


def _after(after: After) -> list[Bar]:
    bars = []
    if after.idle is not None:
        bars.append(
            Bar(
                f"N={after.count}: idle requests beyond watch, list, Lease in {after.idle.seconds:.0f} s",
                after.idle.requests.beyond_upkeep,
                0,
            )
        )
    if after.restart is not None:
        bars.append(Bar(f"N={after.count}: writes after a restart", after.restart.requests.writes, 0))
    if after.change is not None:
        bars += _change(after.change)
    if after.returns is not None:
        bars += _returns(after.returns)
    return bars


def _change(change: Change) -> list[Bar]:
    known = {"deployments": 1, "controllerrevisions": 1, "modeldeployments/status": 2}
    named = f"template change on {change.count}"
    bars = [Bar(f"{named}: writes to {kind} each", change.written_each(kind), limit) for kind, limit in known.items()]
    # A process that was started anew looks at each ModelDeployment once before it changes the Deployment that is there.
    looks = change.requests.requests.get("get modeldeployments", 0)
    other = change.requests.total - looks - sum(change.requests.written(kind) for kind in known)
    return [
        *bars,
        Bar(f"{named}: looks at the ModelDeployment each", looks / change.count, 1),
        Bar(f"{named}: any other requests", other, 0),
    ]


def _returns(returns: Returns) -> list[Bar]:
    return [
        Bar(f"deleted {kind} is back after (longest of {len(times)})", max(times), RETURN_SECONDS, "s", strict=True)
        for kind, times in returns.seconds.items()
    ]
