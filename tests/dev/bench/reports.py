"""Reports for the tests of bars, table and JSON: one that keeps every bar, to be spoilt where a test wants it."""

from dataclasses import replace
from typing import Any

from dev.bench.audit import Tally
from dev.bench.results import After, Change, Creation, Idle, Report, Restart, Returns, Run

PLANE = {"etcd": 2.0, "kube-apiserver": 10.0}


def created(count: int = 500, **changes: Any) -> Creation:
    requests = Tally({"patch deployments": count * 5, "patch modeldeployments/status": count * 2}, writes=count * 7)
    creation = Creation(
        count=count,
        baselines=(Run(28.0, 0.5, PLANE), Run(32.0, 0.7, PLANE)),
        run=Run(36.0, 0.6, PLANE),
        children=5,
        requests=requests,
        cpu_seconds=count * 0.015,
        start_cpu_seconds=1.25,
        peak_mib=92.4,
        start_mib=70.2,
    )
    return replace(creation, **changes)


def changed(**writes: int) -> Change:
    labels = {
        "patch deployments": 100,
        "patch controllerrevisions": 100,
        "patch modeldeployments/status": 200,
    } | {label.replace("_", " "): count for label, count in writes.items()}
    return Change(100, 8.25, Tally(labels, writes=sum(labels.values())))


def after(**changes: Any) -> After:
    quiet = Tally({"watch pods": 3, "list pods": 1}, watches=3, lists=1, leases=40)
    found = After(
        count=500,
        idle=Idle(180.0, quiet, 0.4),
        restart=Restart(3.5, Tally({"list pods": 1, "watch pods": 1}, watches=1, lists=1, leases=2), 2.0, 95.0),
        change=changed(),
        returns=Returns({"Deployment": (0.12, 0.2, 0.1), "Service": (0.08, 0.09, 0.11)}),
    )
    return replace(found, **changes)


def report(*creations: Creation, **changes: Any) -> Report:
    found = Report({"machine": "2 CPUs"}, creations or (created(100), created(500), created(1000)), after())
    return replace(found, **changes)
