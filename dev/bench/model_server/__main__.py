"""Command line: `python -m dev.bench.model_server`. Measures one model after the other, prints the table and the bars."""

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dev.bench.model_server import native, payloads, subjects
from dev.bench.model_server.payloads import Payload
from dev.bench.model_server.results import Process, Report, Row, bars, table
from dev.bench.model_server.subjects import Subject
from dev.repository import ROOT

SIZES = (1, 32)


@dataclass(frozen=True)
class Settings:
    """What to measure, with which further flags of the model server, and for how many seconds each time."""

    models: tuple[str, ...]
    flags: tuple[str, ...]
    clients: tuple[int, ...]
    seconds: float
    limit_seconds: float
    idle_seconds: float
    quick: bool


class Benchmark:
    """One run: its files are in `folder`."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._folder, self._settings = folder, settings
        self.report = Report()

    def run(self) -> Report:
        """Measure everything."""
        _say("making the models")
        making = [sys.executable, "-m", "dev.bench.model_server.make_models", str(self._folder)]
        subprocess.run(making, cwd=ROOT, check=True, capture_output=True)
        (self._folder / "batching.pbtxt").write_text(subjects.BATCHING)
        for model in self._settings.models:
            self._model(model, {size: payloads.write(self._folder, model, size) for size in SIZES})
        return self.report

    def _model(self, model: str, requests: dict[int, Payload]) -> None:
        first = requests[1].document.read_bytes()
        quick, folder = self._settings.quick, self._folder
        _say(f"{model}: the model server")
        with subjects.model_server(folder, model, first, *self._settings.flags) as subject:
            self._measure(model, "server", subject, requests, [("grpc", SIZES), ("rest", (1,) if quick else SIZES)])
        _say(f"{model}: the model server, batching")
        batching = ("--enable_batching=true", f"--batching_parameters_file={folder / 'batching.pbtxt'}")
        with subjects.model_server(folder, model, first, *self._settings.flags, *batching) as subject:
            self._measure(model, "server batching", subject, requests, [("grpc", (1,))])
        _say(f"{model}: Flask")
        with subjects.flask(folder, model, first) as subject:
            self._measure(model, "flask", subject, requests, [("rest", (1,) if quick else SIZES)])
        _say(f"{model}: TensorFlow in process")
        arrays = {size: payload.array for size, payload in requests.items()}
        self.report.limits[model] = subjects.in_process(folder, model, arrays, self._settings.limit_seconds)

    def _measure(
        self,
        model: str,
        name: str,
        subject: Subject,
        requests: dict[int, Payload],
        questions: Iterable[tuple[str, Sequence[int]]],
    ) -> None:
        for protocol, sizes in questions:
            for size in sizes:
                for clients in self._settings.clients:
                    load = _load(subject, protocol, requests[size], clients, self._settings.seconds)
                    self.report.rows.append(Row(model, name, protocol, size, clients, load))
        memory = subject.memory_mib
        idle = None if name == "flask" else subject.idle_cpu_percent(self._settings.idle_seconds)
        self.report.processes.append(Process(model, name, subject.first_answer_seconds, memory, idle))


def _load(subject: Subject, protocol: str, payload: Payload, clients: int, seconds: float) -> native.Load:
    watch = f"-watch={subject.pid}"
    if protocol == "grpc":
        return native.run(subject.grpc, payload.proto, [f"-method={native.PREDICT}", watch], clients, seconds)
    return native.run(subject.rest, payload.document, [f"-path={subject.path}", watch], clients, seconds)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 1 if `--check` finds a bar that is not kept."""
    options = _parser().parse_args(arguments)
    models = options.models or (("digits",) if options.quick else tuple(payloads.INPUTS))
    settings = Settings(
        models=models,
        flags=tuple(options.flag),
        clients=(32,) if options.quick else (1, 32),
        seconds=options.seconds or (3 if options.quick else 5),
        limit_seconds=0.5 if options.quick else 2,
        idle_seconds=3 if options.quick else 10,
        quick=options.quick,
    )
    try:
        with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder:
            report = Benchmark(Path(folder), settings).run()
    except RuntimeError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    print(table(report))
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        document = {**dataclasses.asdict(report), "bars": [{**vars(bar), "kept": bar.kept} for bar in bars(report)]}
        options.json.write_text(json.dumps(document, indent=2) + "\n")
    missed = [bar.name for bar in bars(report) if not bar.kept]
    return 1 if missed and options.check else 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dev.bench.model_server", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="one model, 32 clients: about a minute")
    add("--models", nargs="+", choices=tuple(payloads.INPUTS), help="which models (all; with --quick digits)")
    add("--seconds", type=float, help="how long each measurement takes (5; with --quick 3)")
    add(
        "--flag",
        action="append",
        default=[],
        metavar="--NAME=VALUE",
        help="a flag for the model server; may be repeated",
    )
    add("--check", action="store_true", help="exit with 1 if a bar is missed")
    add("--json", type=Path, metavar="FILE", help="write the report there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
