"""The bars: each one fails for its own reason, and only for that."""

from dataclasses import replace
from typing import Any

import pytest

from dev.bench.audit import Tally
from dev.bench.bars import Bar, evaluate
from dev.bench.results import Creation, Idle, Report, Restart, Returns, Run
from tests.dev.bench.reports import after, changed, created, report


def missed(found: Report) -> list[str]:
    return [bar.name for bar in evaluate(found) if not bar.kept]


def test_a_good_report_keeps_every_bar() -> None:
    assert missed(report()) == []


def test_what_was_not_measured_has_no_bar() -> None:
    found = report(created(5), after=None)
    assert not [bar for bar in evaluate(found) if "idle" in bar.name or "restart" in bar.name]


SPOILT: list[tuple[str, Creation]] = [
    ("requests per resource", created(requests=Tally({"patch deployments": 3501}, writes=3501))),
    ("requests that are no writes", created(requests=Tally({"get deployments": 1}, writes=0))),
    ("operator CPU per resource", created(cpu_seconds=500 * 0.0221)),
    ("seconds to all Ready / baseline", created(run=Run(45.1, 0.0, {}))),
    ("operator peak memory", created(peak_mib=110.4)),
]


@pytest.mark.parametrize(("name", "creation"), SPOILT)
def test_a_creation_misses_the_bar_that_it_breaks(name: str, creation: Creation) -> None:
    assert missed(report(creation)) == [f"N=500: {name}"]


def test_a_limit_may_be_reached() -> None:
    assert missed(report(created(peak_mib=110.0, run=Run(45.0, 0.0, {})))) == []


def test_memory_may_grow_with_the_number_of_resources() -> None:
    assert missed(report(created(1000, peak_mib=150.0))) == []
    assert missed(report(created(1000, peak_mib=161.0))) == ["N=1000: operator peak memory"]
    assert not [bar for bar in evaluate(report(created(5000, peak_mib=900.0), after=None)) if "memory" in bar.name]


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("idle requests", {"idle": Idle(180, Tally({"patch modeldeployments/status": 1}, writes=1), 0)}),
        ("writes after a restart", {"restart": Restart(3, Tally({"patch services": 1}, writes=1), 1, 90)}),
        ("writes to deployments each", {"change": changed(patch_deployments=101)}),
        ("writes to controllerrevisions each", {"change": changed(create_controllerrevisions=1)}),
        ("writes to modeldeployments/status each", {"change": changed(**{"patch_modeldeployments/status": 201})}),
        ("looks at the ModelDeployment each", {"change": changed(get_modeldeployments=101)}),
        ("any other requests", {"change": changed(patch_services=1)}),
        ("deleted Service is back", {"returns": Returns({"Deployment": (0.1,), "Service": (0.1, 0.5)})}),
    ],
)
def test_later_measurements_miss_the_bar_that_they_break(name: str, changes: dict[str, Any]) -> None:
    found = missed(report(after=after(**changes)))
    assert len(found) == 1
    assert name in found[0]


def test_an_idle_operator_may_watch_list_and_keep_its_lease() -> None:
    upkeep = Tally({"watch pods": 9, "list pods": 12}, watches=9, lists=6, leases=90)
    assert missed(report(after=replace(after(), idle=Idle(180, upkeep, 1.0)))) == []


def test_a_stretch_is_told_apart_from_a_limit() -> None:
    assert Bar("ratio", 1.29, 1.5, stretch=1.3).stretched
    assert not Bar("ratio", 1.31, 1.5, stretch=1.3).stretched
    assert not Bar("ratio", 1.0, 1.5).stretched
