"""What the demo prints and decides: progress, tables, metrics, accuracy."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dev.demo import progress, report, tour
from dev.kit import manifests
from dev.kit.console import Console, table
from dev.kit.kubectl import Kubectl
from dev.kit.prediction import Measured


def resource(status: str, observed: int, pods: list[dict[str, str]]) -> dict[str, Any]:
    condition = {
        "type": "Ready",
        "status": status,
        "reason": "RollingOut",
        "message": "1 of 2",
        "observedGeneration": observed,
    }
    return {"metadata": {"generation": 2}, "status": {"conditions": [condition], "pods": pods}}


def test_ready_for_an_older_generation_is_not_ready() -> None:
    assert progress.ready(resource("True", 2, []))
    assert not progress.ready(resource("True", 1, []))
    assert not progress.ready(resource("False", 2, []))
    assert not progress.ready({"metadata": {"generation": 1}})


def test_only_what_changed_is_told() -> None:
    first = progress.facts(resource("False", 2, [{"name": "a", "state": "Fetching"}]))
    second = progress.facts(resource("False", 2, [{"name": "b", "state": "Failed", "message": "404"}]))
    assert progress.changes({}, first) == ["pod a Fetching", "ready False, RollingOut: 1 of 2"]
    assert progress.changes(first, first) == []
    assert progress.changes(first, second) == ["pod b Failed: 404", "pod a gone"]


def test_table_aligns_its_columns() -> None:
    assert table([("", "n"), ("long name", "10")]) == "            n\nlong name  10"


def test_steps_are_timed_and_a_failed_one_is_not() -> None:
    stream = io.StringIO()
    console = Console(stream)
    with console.step("first"):
        console.detail("a\n\nb\n")
    with pytest.raises(ValueError, match="no"), console.step("second"):
        raise ValueError("no")
    console.summary()
    lines = stream.getvalue().splitlines()
    assert lines[:4] == ["==> first", "    a", "", "    b"]
    assert [title for title, _ in console.times] == ["first"]
    assert lines[-1].split()[0] == "together"


def test_accuracy_counts_right_answers() -> None:
    assert report.accuracy(np.array([1, 2, 3, 4]), np.array([1, 2, 3, 0])) == 0.75
    with pytest.raises(ValueError, match="answers for"):
        report.accuracy(np.array([1]), np.array([1, 2]))
    with pytest.raises(ValueError, match="answers for"):
        report.accuracy(np.array([]), np.array([]))


def test_latencies_are_in_milliseconds() -> None:
    text = report.latencies([("one", Measured({}, [0.001] * 100))])
    assert text.splitlines()[1].split() == ["one", "100", "1.00", "1.00", "1.00"]


def test_metrics_are_cut_to_what_tells_something() -> None:
    page = """# TYPE slipway_leader gauge
slipway_leader 1.0
slipway_rest_client_requests_total 0.0
slipway_wait_bucket{le="1"} 3
python_info 1"""
    assert report.metric_lines(page, ("slipway_",)) == ["slipway_leader 1.0"]
    assert report.metric_lines("b 1\na 1\na 2", ("a", "b"), limit=1) == ["a 1", "b 1"]


def test_what_the_demo_makes_is_restricted() -> None:
    labels = manifests.namespace("x")["metadata"]["labels"]
    assert set(labels.values()) == {"restricted"}
    spec = manifests.publisher()["spec"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert spec["automountServiceAccountToken"] is False


@pytest.mark.parametrize(
    ("cluster", "end"), [("slipway", "make demo-down"), ("mine", "SLIPWAY_CLUSTER=mine make demo-down")]
)
def test_the_last_command_takes_down_this_cluster(cluster: str, end: str) -> None:
    said = tour.next_steps(Kubectl(Path("/bin/kubectl"), Path("/kubeconfig")), cluster)
    assert said.splitlines()[-1] == f"the end     {end}"
