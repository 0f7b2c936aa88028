"""Whatever a pod's JSON looks like, there is a state, and a message that fits."""

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from slipway.api import PodState
from slipway.status.pod import project
from slipway.status.pod_facts import MESSAGE_LENGTH
from tests.kit.pod_json import BACK_OFF, LATER, RUNNING, ended, pod

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)
WORDS = ["fetch", "server", "prober", "CrashLoopBackOff", "ErrImagePull", "Ready", "PodScheduled", "Failed", "True", "False", LATER, "2026-11-22", '{"reason": "GateFailed", "message": "x"}', '{"reason": []}', 0, 1, 137, "OOMKilled", True]  # fmt: skip
FIELDS = st.sampled_from(["metadata", "spec", "status", "conditions", "initContainerStatuses", "containerStatuses", "state", "running", "startedAt", "waiting", "terminated", "lastState", "name", "reason", "message", "type", "labels", "containers", "exitCode", "started", "ready", "phase", "finalizers", "deletionTimestamp", "lastTransitionTime", "restartCount", "nodeSelector", "resources", "limits"])  # fmt: skip
SHAPES = st.recursive(
    JSON | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=5),
    max_leaves=30,
)


def whole() -> dict[str, Any]:
    """A pod in which every check has something to look at."""
    built = pod().fetched().prober(BACK_OFF, lastState=ended(1, "Error", '{"reason": "GateFailed", "message": "x"}'))
    built.server(RUNNING, started=True, ready=True, lastState=ended(255))
    built.condition("Ready", "False", lastTransitionTime=LATER)
    built.gpu(product="NVIDIA-H100").body["metadata"]["finalizers"] = ["a/b"]
    return built.body


def paths(node: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [here, *(path for key, value in inner for path in paths(value, (*here, key)))]


def fits(body: dict[str, Any]) -> None:
    found = project(body)
    assert isinstance(found.state, PodState)
    assert len(found.message) <= MESSAGE_LENGTH
    assert found.message == "" or found.message.isprintable()


@given(st.dictionaries(FIELDS, SHAPES, max_size=5))
def test_no_shape_of_json_is_too_odd(body: dict[str, Any]) -> None:
    fits(body)


@given(st.data())
def test_nor_is_a_pod_with_one_odd_part(data: st.DataObject) -> None:
    body = copy.deepcopy(whole())
    *way, last = data.draw(st.sampled_from(paths(body)[1:]), label="where")
    node: Any = body
    for step in way:
        node = node[step]
    node[last] = data.draw(SHAPES, label="what")
    fits(body)
