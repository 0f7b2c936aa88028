"""The course of a benchmark: for every size a client alone, the operator, a client alone, each on a fresh control plane."""

import asyncio
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from dev.bench import after, create, profiler
from dev.bench.operator_process import Invocation
from dev.bench.results import After, Creation, Report, Run
from dev.bench.testbed import OPERATOR_NAMESPACE, Bed, bed
from dev.cluster.binaries import version
from dev.repository import ROOT

CHANGED = 100


@dataclass(frozen=True)
class Settings:
    """What to measure.

    Attributes:
        sizes: how many resources, one run for each.
        clients: how many requests the bench has under way at a time.
        baselines: runs without the operator: 2 means before and after it, 0 means none.
        repeat: runs of each size with the operator, an odd number; what follows one of them precedes the next.
        after: the size on which idling, restart, change and deletion are measured; None leaves them out.
        flags: further flags of the operator.
        profile: folder for profiles of the operator's CPU; None runs it as users do.
    """

    sizes: tuple[int, ...]
    nodes: int
    clients: int
    baselines: int
    repeat: int
    after: int | None
    idle_seconds: float
    returns: int
    flags: tuple[str, ...]
    profile: Path | None


def measure(settings: Settings, keep: Callable[[Report], None]) -> Report:
    """Measure every size on control planes of its own: client, operator, client.

    `keep` gets the report as far as it is after each size: what was measured is not lost if a later size fails.
    """
    creations: list[Creation] = []
    afterwards: After | None = None
    notes = ("the operator ran under a sampling profiler",) if settings.profile else ()
    report = Report(_environment(settings), ())
    for count in settings.sizes:
        before = [_baseline(settings, count)] if settings.baselines else []
        runs: list[Creation] = []
        for _ in range(settings.repeat):
            after_count = settings.after if afterwards is None else None
            with bed(settings.nodes) as ground:
                creation, more = asyncio.run(_operator(replace(settings, after=after_count), ground, count))
            following = [_baseline(settings, count) for _ in range(settings.baselines - 1)]
            runs.append(replace(creation, baselines=(*before, *following)))
            before, afterwards = following or before, more or afterwards
        creations.append(Creation.middle(runs))
        report = Report(_environment(settings), tuple(creations), afterwards, notes)
        keep(report)
    return report


def _baseline(settings: Settings, count: int) -> Run:
    with bed(settings.nodes) as ground:
        run = asyncio.run(create.by_client(ground, count, settings.clients))
    say(f"N={count}: client alone {run.seconds:.1f} s")
    return run


async def _operator(settings: Settings, ground: Bed, count: int) -> tuple[Creation, After | None]:
    invocation = _invocation(settings, ground, f"create-{count}")
    operator = await after.started(ground, invocation)
    try:
        creation = await create.by_operator(ground, operator, count, settings.clients)
        say(f"N={count}: operator {creation.run.seconds:.1f} s, {creation.requests_each:.2f} requests per resource")
        if count != settings.after:
            return creation, None
        idle = await after.idle(ground, operator, settings.idle_seconds)
        say(f"N={count}: {idle.requests.beyond_upkeep} requests in {idle.seconds:.0f} idle seconds")
        operator, restart = await after.restart(ground, operator, _invocation(settings, ground, f"restart-{count}"))
        say(f"N={count}: {restart.requests.writes} writes after a restart")
        changed = await after.change(ground, operator, min(CHANGED, count), settings.clients)
        say(f"N={count}: template change on {changed.count} in {changed.seconds:.1f} s")
        returns = await after.returns(ground, operator, count, settings.returns)
        say(f"N={count}: deleted children back after {returns.longest:.2f} s at most")
        return creation, After(count, idle, restart, changed, returns)
    except (TimeoutError, RuntimeError):
        say(f"the end of the operator's log:\n{operator.tail()}")
        raise
    finally:
        operator.stop()
        if invocation.profile is not None:
            say(profiler.summarise(invocation.profile.read_text()))


def _invocation(settings: Settings, ground: Bed, run: str) -> Invocation:
    return Invocation(
        kubeconfig=ground.operator_config,
        namespace=OPERATOR_NAMESPACE,
        log=ground.plane.folder / "logs" / "operator.log",
        flags=settings.flags,
        profile=None if settings.profile is None else settings.profile / f"{run}.stacks",
    )


def _environment(settings: Settings) -> dict[str, str | int | float]:
    return {
        "when": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": shlex.join(["python", "-m", "dev.bench", *sys.argv[1:]]),
        "commit": _commit(),
        "machine": f"{os.cpu_count()} CPUs, {platform.system()} {platform.release()}, Python {platform.python_version()}",
        "control plane": f"Kubernetes {version('kube-apiserver')}, etcd {version('etcd')}, kwok {version('kwok')}, "
        f"{settings.nodes} simulated nodes",
        "requests under way at a time": settings.clients,
    }


def _commit() -> str:
    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    return f"{git('rev-parse', '--short', 'HEAD')}{' and changes' if git('status', '--porcelain', '--', 'operator') else ''}"


def say(line: str) -> None:
    """Tell on standard error how far it is."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)
