"""What the benchmark of the model server measured, and the bars that it has to keep. Pure."""

from dataclasses import dataclass, field

from dev.bench.model_server.native import Load
from dev.bench.model_server.subjects import InProcess

FLASK_GRPC, FLASK_REST, LIMIT_SHARE, EXTRA_MIB, IDLE_PERCENT = 150.0, 50.0, 0.65, 60.0, 1.0
MANY, ONE_EXAMPLE, BATCH = 32, 1, 32


@dataclass(frozen=True)
class Row:
    """One measurement: which server (`server`, `server batching` or `flask`), over what, how many examples and clients."""

    model: str
    subject: str
    protocol: str
    batch: int
    clients: int
    load: Load


@dataclass(frozen=True)
class Process:
    """A serving process: seconds to its first answer, MiB after the load, share of a core when idle (None: not looked at)."""

    model: str
    subject: str
    first_answer_seconds: float
    memory_mib: float
    idle_percent: float | None = None


@dataclass
class Report:
    """Everything that was measured. It grows as the benchmark goes on."""

    rows: list[Row] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)
    limits: dict[str, InProcess] = field(default_factory=dict)

    def load(self, model: str, subject: str, protocol: str, batch: int) -> Load | None:
        """Return what many clients saw, None if that was not measured."""
        wanted = (model, subject, protocol, batch, MANY)
        for row in self.rows:
            if (row.model, row.subject, row.protocol, row.batch, row.clients) == wanted:
                return row.load
        return None

    def rate(self, model: str, subject: str, protocol: str, batch: int) -> float | None:
        """Return the requests/s of many clients, None if that was not measured."""
        found = self.load(model, subject, protocol, batch)
        return None if found is None else found.rate


@dataclass(frozen=True)
class Bar:
    """A limit and what was measured, in `unit`. `at_least`: the value must reach the limit, not stay within it."""

    name: str
    value: float
    limit: float
    unit: str
    at_least: bool = True

    @property
    def kept(self) -> bool:
        """Tell whether the bar is kept."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def bars(report: Report) -> list[Bar]:
    """Return the bars for which the report has numbers."""
    found = []
    for model in dict.fromkeys(row.model for row in report.rows):
        found += _of_model(report, model)
    failed = sum(sum(row.load.failed.values()) for row in report.rows)
    return [*found, Bar("failed requests", failed, 0, "", at_least=False)]


def _of_model(report: Report, model: str) -> list[Bar]:
    found = []
    flask = report.rate(model, "flask", "rest", ONE_EXAMPLE)
    for protocol, factor in (("grpc", FLASK_GRPC), ("rest", FLASK_REST)):
        mine = report.rate(model, "server", protocol, ONE_EXAMPLE)
        if mine is not None and flask:
            found.append(Bar(f"{model}: {protocol}, batch 1, requests/s by Flask's", mine / flask, factor, "x"))
    limit = report.limits.get(model)
    if limit is not None:
        mine = report.rate(model, "server", "grpc", BATCH)
        if mine is not None:
            share = mine / limit.calls[BATCH]
            found.append(Bar(f"{model}: grpc, batch 32, examples/s by the limit's", share, LIMIT_SHARE, "x"))
        joined = report.load(model, "server batching", "grpc", ONE_EXAMPLE)
        if joined is not None:
            share = joined.rate / limit.calls[ONE_EXAMPLE]
            found.append(Bar(f"{model}: grpc, batch 1, batching, requests/s by the limit's calls/s", share, 1.0, "x"))
            share = joined.cpu_micros / limit.cpu_micros[ONE_EXAMPLE]
            name = f"{model}: grpc, batch 1, batching, CPU of a request by that of the limit's call"
            found.append(Bar(name, share, 1.0, "x", at_least=False))
    for process in report.processes:
        if process.model != model or process.subject == "flask":
            continue
        if limit is not None:
            extra = process.memory_mib - limit.memory_mib
            name = f"{model}: {process.subject}, memory beyond that of TensorFlow in process"
            found.append(Bar(name, extra, EXTRA_MIB, "MiB", at_least=False))
        if process.idle_percent is not None:
            name = f"{model}: {process.subject}, CPU when idle"
            found.append(Bar(name, process.idle_percent, IDLE_PERCENT, "% of a core", at_least=False))
    return found


def table(report: Report) -> str:
    """Return the report as text."""
    header = (
        f"{'model':11}{'subject':17}{'over':6}{'batch':>5}{'clients':>8}{'req/s':>9}{'examples/s':>11}{'p50 ms':>9}"
        f"{'p99 ms':>9}{'CPU us/req':>11}{'client us':>10}"
    )
    lines = [header]
    for row in report.rows:
        load = row.load
        lines.append(
            f"{row.model:11}{row.subject:17}{row.protocol:6}{row.batch:5}{row.clients:8}{load.rate:9.0f}"
            f"{load.rate * row.batch:11.0f}{load.p50_millis:9.2f}{load.p99_millis:9.2f}{load.cpu_micros:11.0f}"
            f"{load.client_cpu_micros:10.0f}"
        )
    for model, limit in report.limits.items():
        for batch, calls in limit.calls.items():
            best = f"{limit.best[batch]} threads; one caller alone {limit.one_caller[batch]:.0f} calls/s"
            lines.append(
                f"{model:11}{'in process':17}{'':6}{batch:5}{'':8}{calls:9.0f}{calls * batch:11.0f}{'':18}"
                f"{limit.cpu_micros[batch]:11.0f}   {best}"
            )
    lines.append(f"\n{'model':11}{'subject':17}{'first answer s':>15}{'RSS MiB':>9}{'idle CPU %':>11}")
    for process in report.processes:
        idle = "" if process.idle_percent is None else f"{process.idle_percent:.1f}"
        lines.append(
            f"{process.model:11}{process.subject:17}{process.first_answer_seconds:15.1f}{process.memory_mib:9.0f}{idle:>11}"
        )
    for model, limit in report.limits.items():
        lines.append(f"{model:11}{'in process':17}{limit.first_answer_seconds:15.1f}{limit.memory_mib:9.0f}")
    lines.append("")
    for bar in bars(report):
        sign = ">=" if bar.at_least else "<="
        verdict = "kept  " if bar.kept else "MISSED"
        lines.append(f"{verdict} {bar.name}: {bar.value:.2f} {sign} {bar.limit:g} {bar.unit}".rstrip())
    return "\n".join(lines)
