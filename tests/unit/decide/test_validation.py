"""A body becomes a typed spec, or one Problem that names every field that is wrong, and the fix."""

from typing import Any

import pytest

from slipway.api import ModelDeploymentSpec, Reason
from slipway.decide import validation
from slipway.domain.objects import Key, Problem
from tests.kit.builders import DEFAULTS, Model

KEY = Key("team-a", "digits")


def problem(**fields: Any) -> Problem:
    found = validation.read(KEY, Model().spec(**fields).body()["spec"])
    if isinstance(found, ModelDeploymentSpec):
        checked = validation.check(found, DEFAULTS)
        assert checked is not None
        return checked
    return found


def test_a_good_spec_is_typed() -> None:
    found = validation.read(KEY, Model().spec(replicas=2, resources={"requests": {"cpu": 1}}).body()["spec"])
    assert isinstance(found, ModelDeploymentSpec)
    assert (found.replicas, found.resources.requests) == (2, {"cpu": "1"})
    assert validation.check(found, DEFAULTS) is None


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("ftp://x/y", "unknown scheme"),
        ("/models/x", "unknown scheme"),
        ("https://user:secret@host/x", "must not carry credentials"),
        ("pvc://claim/../x", "must not contain '..'"),
        ("pvc://claim/%2e%2e/x", "must not contain '..'"),
        ("https://host/a b", "white space"),
        ("pvc://claim/a%0ab", "control characters"),
        ("pvc://", "incomplete"),
        ("https://", "incomplete"),
    ],
)
def test_addresses(uri: str, text: str) -> None:
    found = problem(model={"uri": uri})
    assert found.reason is Reason.INVALID_SPEC
    assert found.message.startswith("spec.model.uri")
    assert text in found.message
    assert "secret" not in found.message


def test_every_fault_is_named_at_once() -> None:
    found = problem(replicas="2", modle={}, rollout={"strategy": "Fast"})
    for field in ("spec.replicas", "spec.modle", "spec.rollout.strategy"):
        assert f"{field}: " in found.message


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"podTemplate": {"labels": {"a b": "c"}}}, "spec.podTemplate.labels: 'a b' is not a valid key"),
        ({"podTemplate": {"annotations": {"A.b/": "c"}}}, "spec.podTemplate.annotations: 'A.b/' is not a valid key"),
        ({"podTemplate": {"nodeSelector": {"k" * 64: "c"}}}, "spec.podTemplate.nodeSelector"),
        ({"podTemplate": {"labels": {"app.kubernetes.io/name": "x"}}}, "are set by Slipway and Kubernetes"),
        (
            {"resources": {"requests": {"pods": 1}}},
            "spec.resources.requests.pods: not a resource of the server container",
        ),
        ({"resources": {"limits": {"nvidia.com/gpu": 1}}}, "request it with spec.gpu"),
        ({"resources": {"requests": {"cpu": "much"}}}, "spec.resources.requests.cpu"),
        ({"autoscaling": {"maxReplicas": 2}}, "spec.autoscaling needs spec.resources.requests.cpu"),
    ],
)
def test_other_fields(fields: dict[str, Any], text: str) -> None:
    found = problem(**fields)
    assert found.reason is Reason.INVALID_SPEC
    assert text in found.message


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (
            {"rollout": {"gate": {"golden": {"path": "g.npz"}, "metrics": {"accuracy": "0.9"}}}},
            "spec.rollout.gate.metrics.accuracy: '0.9' is not a bound: write it like '>=0.95' or '<=50'",
        ),
        (
            {"rollout": {"progressDeadline": "5 minutes"}},
            "spec.rollout.progressDeadline: '5 minutes' is not a duration",
        ),
        ({"resources": {"limits": {"memory": "1GB"}}}, "spec.resources.limits.memory: '1GB' is not a quantity"),
        ({"model": {"uri": "https://x/y", "digest": "md5:1"}}, "spec.model.digest: 'md5:1' is not a digest"),
    ],
)
def test_a_notation_is_explained_and_not_printed_as_a_pattern(fields: dict[str, Any], text: str) -> None:
    assert text in problem(**fields).message


@pytest.mark.parametrize("key", ["a", "team", "example.org/Team_a.b-c", "a" * 63, "hugepages"])
def test_good_keys(key: str) -> None:
    found = validation.read(KEY, Model().spec(podTemplate={"labels": {key: "v"}}).body()["spec"])
    assert isinstance(found, ModelDeploymentSpec)
    assert validation.check(found, DEFAULTS) is None


def test_flags_and_resources_are_reported_together() -> None:
    found = problem(runtime={"args": {"no_such": "1"}}, resources={"limits": {"gpus": 1}})
    assert found.reason is Reason.INVALID_SPEC
    assert "spec.runtime.args.no_such" in found.message
    assert "spec.resources.limits.gpus" in found.message
