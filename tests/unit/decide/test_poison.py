"""One poisoned resource never disturbs another: whatever JSON is in a body, deciding and telling go on."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slipway.api import ModelDeploymentStatus, Reason
from slipway.decide import Plan, State, make_plan
from slipway.domain.objects import Key, Manifest, Observed
from slipway.status import report, transitions
from tests.kit.builders import DEFAULTS, NOW, Model, World, actions, served

KEY = Key("team-a", "digits")
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=12,
)
WORDS = st.sampled_from(
    [
        "model",
        "uri",
        "version",
        "digest",
        "runtime",
        "image",
        "batching",
        "maxBatchSize",
        "warmup",
        "args",
        "resources",
        "requests",
        "limits",
        "cpu",
        "memory",
        "gpu",
        "count",
        "product",
        "mig",
        "replicas",
        "autoscaling",
        "minReplicas",
        "maxReplicas",
        "metrics",
        "type",
        "target",
        "podTemplate",
        "labels",
        "affinity",
        "tolerations",
        "rollout",
        "strategy",
        "progressDeadline",
        "revisionHistoryLimit",
        "onFailure",
        "pinnedRevision",
        "gate",
        "golden",
        "configMap",
        "checks",
    ]
)
LIKELY = st.sampled_from(
    ["pvc://models/digits", "https://x/y", "1Gi", "CPU", "10m", "Auto", "1g.10gb", "2.20.0", 1, 2, {}]
)
SPECS = st.recursive(
    JSON | LIKELY,
    lambda inner: st.dictionaries(WORDS, inner, max_size=6) | st.lists(inner, max_size=3),
    max_leaves=25,
)
STATUS_WORDS = st.sampled_from(
    [
        "conditions",
        "history",
        "pods",
        "revision",
        "verdict",
        "time",
        "type",
        "status",
        "reason",
        "message",
        "lastTransitionTime",
        "digest",
        "modelVersion",
        "currentRevision",
        "targetRevision",
        "startTime",
    ]
)
STATUSES = st.recursive(
    JSON | st.sampled_from(["Ready", "True", "False", "Failed", "Progressing"]),
    lambda inner: st.dictionaries(STATUS_WORDS, inner, max_size=6) | st.lists(inner, max_size=3),
    max_leaves=25,
)
FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def look(body: Manifest) -> tuple[Plan, Manifest]:
    """Plan and report as the reconciler does; the status is always one that the CRD accepts."""
    state = State.gather(KEY, Observed(body))
    plan = make_plan(state, DEFAULTS, NOW)
    status = report.compute(state, plan, (), NOW)
    ModelDeploymentStatus.model_validate(status)
    assert len(json.dumps(status)) < 50_000
    assert transitions.urgent(status, status) is False
    transitions.events({}, status)
    return plan, status


@FEW
@given(SPECS)
def test_no_spec_is_too_odd(spec: Any) -> None:
    plan, _ = look(Model().body() | {"spec": spec})
    assert bool(plan.actions) != bool(plan.problem)


@FEW
@given(SPECS)
def test_no_part_of_a_good_spec_is_too_odd(part: Any) -> None:
    body = Model().body()
    for field in (
        "model",
        "runtime",
        "resources",
        "gpu",
        "autoscaling",
        "podTemplate",
        "rollout",
        "replicas",
        "pinnedRevision",
    ):
        plan, _ = look(body | {"spec": body["spec"] | {field: part}})
        assert bool(plan.actions) != bool(plan.problem)


@FEW
@given(STATUSES)
def test_no_old_status_is_too_odd(old: Any) -> None:
    world = served(Model())
    world.body["status"] = old
    status = world.write_status()
    ModelDeploymentStatus.model_validate(status)
    assert actions(world.plan()) == []


@FEW
@given(JSON)
def test_no_metadata_is_too_odd(metadata: Any) -> None:
    body = Model().body() | {"metadata": metadata}
    state = State.gather(KEY, Observed(body))
    plan = make_plan(state, DEFAULTS, NOW)
    ModelDeploymentStatus.model_validate(report.compute(state, plan, (), NOW))


@FEW
@given(
    st.dictionaries(st.sampled_from(["spec", "images", "template", "other"]), JSON, max_size=4) | JSON,
    st.integers() | st.text(),
)
def test_no_record_is_too_odd(data: Any, number: Any) -> None:
    world = served(Model())
    ref = next(ref for ref in world.children if ref.kind == "ControllerRevision")
    world.children[ref] |= {"data": data, "revision": number}
    ModelDeploymentStatus.model_validate(world.write_status())


@pytest.mark.parametrize("spec", [None, [], "text", 7, True, {}, {"model": None}, {"model": {"uri": None}}])
def test_a_spec_that_is_none(spec: Any) -> None:
    plan, status = look(Model().body() | {"spec": spec})
    assert plan.problem is not None
    assert plan.problem.reason is Reason.INVALID_SPEC
    assert status["conditions"][0]["reason"] == "InvalidSpec"


def nested(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = {"a": [value]}
    return value


@pytest.mark.parametrize(
    "fields",
    [
        {"model": {"uri": "https://x/" + "a" * 10**6}},
        {"x" * 10**6: 1},
        {f"field{index}": 1 for index in range(10_000)},
        {"podTemplate": {"labels": {"k" * 10**6: "v"}}},
        {"podTemplate": {"affinity": nested(5_000)}},
        {"podTemplate": {"affinity": {"a": nested(20)}}},
        {"runtime": {"args": {"a" * 1000: "b", "port\n": "1"}}},
        {"resources": {"requests": {"cpu": "9" * 10**5}}},
        {"model": {"uri": "pvc://models/\ud800"}},
        {"replicas": 10**400},
        {"gpu": {"memoryFraction": float("nan")}},
        {"rollout": {"progressDeadline": "9" * 1000 + "h"}},
    ],
    ids=lambda fields: str(next(iter(fields)))[:20],
)
def test_what_is_too_much(fields: dict[str, Any]) -> None:
    plan, status = look(Model().body() | {"spec": Model().body()["spec"] | fields})
    assert plan.problem is not None
    assert len(plan.problem.message) <= 2048
    assert status["conditions"][0]["status"] == "False"


def test_words_of_others_cannot_break_lines() -> None:
    spec = Model().body()["spec"] | {"a\n\x00b\x1b[31m": 1}
    plan, status = look(Model().body() | {"spec": spec})
    assert plan.problem is not None
    assert plan.problem.message.isprintable()
    assert all(item["message"].isprintable() for item in status["conditions"])


def test_the_neighbour_is_not_disturbed() -> None:
    good = World(Model("good"))
    look(Model().body() | {"spec": {"model": []}})
    good.settle()
    good.roll_out()
    assert good.write_status()["conditions"][0]["status"] == "True"
