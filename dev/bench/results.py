"""What was measured: value types that the table, the bars and the JSON file are made from."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import fmean, median
from typing import Any

from dev.bench.audit import Tally


@dataclass(frozen=True)
class Run:
    """One time that N resources were created on a fresh control plane.

    Attributes:
        seconds: from the first create to the last one Ready (or Available).
        load: the machine's load average over the last minute when it began: what else was going on.
        plane_cpu: CPU seconds of each of the control plane's processes in that time.
    """

    seconds: float
    load: float
    plane_cpu: dict[str, float]


@dataclass(frozen=True)
class Creation:
    """N ModelDeployments created with the operator running, and the same children created by a client.

    Attributes:
        baselines: the runs without the operator, before and after.
        children: objects that one ModelDeployment became.
        cpu_seconds: CPU time of the operator from the first create until it was quiet again.
        start_cpu_seconds: CPU time that it had used before, for starting.
        peak_mib, start_mib: resident memory, at its highest and before the first create.
        repeated: all runs of this size, this one included, where there were several; this is the one of median ratio.
    """

    count: int
    baselines: tuple[Run, ...]
    run: Run
    children: int
    requests: Tally
    cpu_seconds: float
    start_cpu_seconds: float
    peak_mib: float
    start_mib: float
    repeated: tuple["Creation", ...] = ()

    @classmethod
    def middle(cls, runs: Sequence["Creation"]) -> "Creation":
        """Return the run of median ratio among an odd number of them, and with it the others."""
        if len(runs) == 1:
            return runs[0]
        ordered = sorted(runs, key=lambda run: run.ratio or 0.0)
        return replace(ordered[len(ordered) // 2], repeated=tuple(runs))

    @property
    def runs(self) -> tuple["Creation", ...]:
        """Return all runs of this size."""
        return self.repeated or (self,)

    @property
    def cpu_millis_middle(self) -> float:
        """Return the median of the operator's CPU milliseconds per resource over all runs of this size."""
        return median(run.cpu_millis_each for run in self.runs)

    @property
    def baseline_seconds(self) -> float | None:
        """Return the mean of the runs without the operator; None if there were none."""
        return fmean(run.seconds for run in self.baselines) if self.baselines else None

    @property
    def ratio(self) -> float | None:
        """Return how many times as long it took with the operator; None if nothing was run without it."""
        return self.run.seconds / self.baseline_seconds if self.baseline_seconds else None

    @property
    def requests_each(self) -> float:
        """Return the operator's requests per resource."""
        return self.requests.total / self.count

    @property
    def cpu_millis_each(self) -> float:
        """Return the operator's CPU milliseconds per resource."""
        return self.cpu_seconds / self.count * 1000


@dataclass(frozen=True)
class Idle:
    """What the operator requested while nothing happened."""

    seconds: float
    requests: Tally
    cpu_seconds: float


@dataclass(frozen=True)
class Restart:
    """What a restarted operator did until it was quiet.

    Attributes:
        seconds: from its start until it held the Lease and was quiet.
    """

    seconds: float
    requests: Tally
    cpu_seconds: float
    peak_mib: float


@dataclass(frozen=True)
class Change:
    """A change of the pod template on some of the resources.

    Attributes:
        seconds: from the first change to the last one Ready again.
    """

    count: int
    seconds: float
    requests: Tally

    def written_each(self, resource: str) -> float:
        """Return the writes to a resource per changed ModelDeployment."""
        return self.requests.written(resource) / self.count


@dataclass(frozen=True)
class Returns:
    """How long deleted children stayed away, in seconds, by kind."""

    seconds: dict[str, tuple[float, ...]]

    @property
    def all(self) -> list[float]:
        """Return the times of all kinds."""
        return [each for times in self.seconds.values() for each in times]

    @property
    def median(self) -> float:
        """Return the median over all kinds."""
        return median(self.all)

    @property
    def longest(self) -> float:
        """Return the longest time."""
        return max(self.all)


@dataclass(frozen=True)
class After:
    """What was measured on one set of resources after they had been created; None where it was left out."""

    count: int
    idle: Idle | None = None
    restart: Restart | None = None
    change: Change | None = None
    returns: Returns | None = None


@dataclass(frozen=True)
class Report:
    """Everything that one call measured."""

    environment: dict[str, Any]
    creations: tuple[Creation, ...]
    after: After | None = None
    notes: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON, with the derived numbers beside the measured ones."""
        document = asdict(self)
        for creation, into in zip(self.creations, document["creations"], strict=True):
            into["derived"] = {
                "baseline_seconds": creation.baseline_seconds,
                "ratio": creation.ratio,
                "requests_each": creation.requests_each,
                "writes_each": creation.requests.writes / creation.count,
                "cpu_millis_each": creation.cpu_millis_middle,
            }
            if creation.repeated:
                into["derived"]["ratios"] = [run.ratio for run in creation.repeated]
                into["derived"]["cpu_millis"] = [run.cpu_millis_each for run in creation.repeated]
        return document
