"""What a gate and a pin become in a pod, and how a Deployment rolls while they are unknown."""

import json
from dataclasses import replace
from typing import Any

import pytest

from slipway import render
from slipway.api import Gate, ModelDeploymentSpec
from slipway.domain import names, revisions
from slipway.domain.names import Owner
from slipway.domain.objects import Manifest, Ref
from slipway.domain.pod_defaults import PodDefaults
from slipway.domain.revisions import Pin, Revision
from slipway.domain.servers import Images
from slipway.render import RenderInput, revision_objects, termination
from tests.kit.builders import UID, Model, World

IMAGES = Images("tensorflow/serving:2.20.0", "slipway/tools:0.1.0", "IfNotPresent")
DIGEST = "sha256:" + "a" * 64
GATE: Manifest = {"golden": {"configMap": "set"}, "metrics": {"accuracy": ">=0.9"}}


def spec(gate: Manifest | None = None, *, uri: str = "pvc://models/digits", **model: Any) -> ModelDeploymentSpec:
    asked: Manifest = {"model": {"uri": uri, **model}}
    if gate is not None:
        asked["rollout"] = {"gate": gate}
    return ModelDeploymentSpec.model_validate(asked)


def template(asked: ModelDeploymentSpec, number: int = 3) -> Manifest:
    return render.pod_template(owner(), number, asked, IMAGES, (2, 20, 0), PodDefaults())


def init(asked: ModelDeploymentSpec) -> list[Manifest]:
    found: list[Manifest] = template(asked)["spec"]["initContainers"]
    return found


def recorded(asked: ModelDeploymentSpec, uid: str = "uid-of-the-record") -> Revision:
    return replace(revisions.new(3, asked, IMAGES, template(asked)), uid=uid)


def owner() -> Owner:
    return Owner(World(Model()).key, UID)


def deployment(asked: ModelDeploymentSpec, **fields: Any) -> Manifest:
    given = RenderInput(owner(), asked, recorded(asked), 4, **({"terminate_first": False, "several": True} | fields))
    found: Manifest = next(child for child in render.children(given) if child["kind"] == "Deployment")["spec"]
    return found


# The prober


def test_without_a_gate_there_is_no_prober() -> None:
    assert [container["name"] for container in init(spec())] == ["fetch"]
    assert not any("golden" in argument for argument in init(spec())[0]["args"])
    assert {volume["name"] for volume in template(spec())["spec"]["volumes"]} == {"model", "tmp", "source"}


def test_the_prober_is_a_sidecar_behind_fetch() -> None:
    fetch, prober = init(spec(GATE))
    assert (fetch["name"], prober["name"], prober["restartPolicy"]) == ("fetch", "prober", "Always")
    assert "restartPolicy" not in fetch
    assert prober["image"] == fetch["image"] == IMAGES.tools
    assert prober["volumeMounts"] == [{"name": "model", "mountPath": "/models", "readOnly": True}]
    assert "env" not in prober  # no credentials, no pin


def test_the_prober_never_holds_the_server_back_nor_termination() -> None:
    """Its startup probe would keep the server from starting, and it can only be ready when the server answers.

    A preStop hook of a sidecar begins with the pod's termination; the signal comes only after the server has ended.
    """
    _, prober = init(spec(GATE))
    assert "startupProbe" not in prober
    assert "lifecycle" not in prober
    assert template(spec(GATE))["spec"]["terminationGracePeriodSeconds"] == termination.grace_seconds()
    assert template(spec(GATE))["spec"]["containers"] == template(spec())["spec"]["containers"]


def test_the_probers_probes() -> None:
    _, prober = init(spec(GATE))
    ready, alive = prober["readinessProbe"], prober["livenessProbe"]
    assert (ready["httpGet"], alive["httpGet"]) == (
        {"path": "/ready", "port": "prober"},
        {"path": "/healthz", "port": "prober"},
    )
    assert prober["ports"] == [{"name": "prober", "containerPort": names.PROBER_PORT, "protocol": "TCP"}]
    assert ready["periodSeconds"] == 1  # the most that a good pod waits for its first request
    assert (
        alive["periodSeconds"] * alive["failureThreshold"] == 60
    )  # restarted, it would ask everything again, out of service


def test_the_gate_reaches_the_prober_whole_and_is_not_expanded() -> None:
    gate = {
        "golden": {"configMap": "set"},
        "signature": "$(HOME)",
        "metrics": {"loss": "<=0.1"},
        "checks": [{"output": "größe", "metrics": {"matches": ">=1"}}],
        "interval": "10m",
    }
    _, prober = init(spec(gate))
    (sent,) = [argument for argument in prober["args"] if argument.startswith("--gate=")]
    assert "$(" not in sent.replace("$$", "")
    sent_gate = json.loads(sent.removeprefix("--gate=").replace("$$", "$"))
    assert sent_gate == Gate.model_validate(gate).resolved()
    assert (sent_gate["signature"], sent_gate["intervalSeconds"], sent_gate["checks"][1]["output"]) == (
        "$(HOME)",
        600,
        "größe",
    )


def test_the_same_gate_gives_the_same_text_however_it_was_written() -> None:
    metrics = {"accuracy": ">=0.9", "p99LatencyMillis": "<=50"}
    turned = {"metrics": dict(reversed(metrics.items())), "golden": {"configMap": "set"}}
    assert init(spec({"golden": {"configMap": "set"}, "metrics": metrics})) == init(spec(turned))


def test_the_prober_has_no_token_where_the_pod_has_one() -> None:
    """Kubernetes mounts the token of a named service account into every container that has nothing in its place."""
    asked = ModelDeploymentSpec.model_validate(
        {"model": {"uri": "https://x/y"}, "rollout": {"gate": GATE}, "podTemplate": {"serviceAccountName": "models"}}
    )
    _, prober = init(asked)
    place = {"name": "no-token", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": True}
    assert place in prober["volumeMounts"]
    assert {"name": "no-token", "emptyDir": {}} in template(asked)["spec"]["volumes"]
    assert template(spec(GATE))["spec"]["automountServiceAccountToken"] is False


# The golden set


@pytest.mark.parametrize(
    ("golden", "uri", "arguments", "mount", "volume"),
    [
        (
            {"configMap": "set"}, "https://x/y",
            ["--golden-dir=/golden", "--golden-name=set"],
            {"name": "golden", "mountPath": "/golden", "readOnly": True},
            {"name": "golden", "configMap": {"name": "set", "optional": True}},
        ),
        (
            {"configMap": "set", "key": "a.npz"}, "https://x/y",
            ["--golden-dir=/golden", "--golden-name=set", "--golden-key=a.npz"],
            {"name": "golden", "mountPath": "/golden", "readOnly": True},
            {"name": "golden", "configMap": {"name": "set", "optional": True}},
        ),
        ({"uri": "https://x/$(A)"}, "https://x/y", ["--golden-uri=https://x/$$(A)"], None, None),
        (
            {"uri": "https://x/z", "digest": DIGEST}, "https://x/y",
            ["--golden-uri=https://x/z", f"--golden-digest={DIGEST}"], None, None,
        ),
        (
            {"uri": "pvc://sets/a%20b/c.npz"}, "pvc://models/digits",
            ["--golden-uri=pvc://sets/a%20b/c.npz", "--golden-source=/golden-source/a b/c.npz"],
            {"name": "golden", "mountPath": "/golden-source", "readOnly": True},
            {"name": "golden", "persistentVolumeClaim": {"claimName": "sets", "readOnly": True}},
        ),
        (
            # One claim, one volume: kubelets have waited for ever for two volumes of the same claim.
            {"uri": "pvc://models/golden/c.npz"}, "pvc://models/digits",
            ["--golden-uri=pvc://models/golden/c.npz", "--golden-source=/golden-source/golden/c.npz"],
            {"name": "source", "mountPath": "/golden-source", "readOnly": True},
            None,
        ),
        ({"path": "assets.extra/golden.npz"}, "https://x/y", ["--golden-path=assets.extra/golden.npz"], None, None),
    ],
)  # fmt: skip
def test_fetch_brings_the_golden_set(
    golden: Manifest, uri: str, arguments: list[str], mount: Manifest | None, volume: Manifest | None
) -> None:
    asked, plain = spec({"golden": golden}, uri=uri), spec(uri=uri)
    fetch, prober = init(asked)
    assert fetch["args"] == [*init(plain)[0]["args"], *arguments]
    added = [item for item in fetch["volumeMounts"] if item not in init(plain)[0]["volumeMounts"]]
    assert added == ([mount] if mount else [])
    volumes = template(asked)["spec"]["volumes"]
    assert [item for item in volumes if item not in template(plain)["spec"]["volumes"]] == ([volume] if volume else [])
    assert [item["name"] for item in prober["volumeMounts"]] == ["model"]
    claims = [item["persistentVolumeClaim"]["claimName"] for item in volumes if "persistentVolumeClaim" in item]
    assert len(claims) == len(set(claims))


# The pin


def test_fetch_gets_the_pin_once_there_is_one() -> None:
    fetch, _ = init(spec(GATE))
    assert {item["name"]: item["valueFrom"]["configMapKeyRef"] for item in fetch["env"]} == {
        "SLIPWAY_PINNED_VERSION": {"name": "digits-3-7f0c2c9e", "key": "version", "optional": True},
        "SLIPWAY_PINNED_DIGEST": {"name": "digits-3-7f0c2c9e", "key": "digest", "optional": True},
    }
    assert recorded(spec()).uses_pin


def test_a_digest_in_the_spec_is_the_pin() -> None:
    assert "env" not in init(spec(digest=DIGEST))[0]
    assert not recorded(spec(digest=DIGEST)).uses_pin


@pytest.mark.parametrize("odd", [{}, {"spec": None}, {"spec": {"initContainers": [1, {"name": "fetch", "env": "x"}]}}])
def test_an_odd_template_uses_no_pin(odd: Manifest) -> None:
    assert not revisions.from_template(3, odd).uses_pin


def test_the_pin_is_immutable_and_belongs_to_its_record() -> None:
    found = revision_objects.pin(owner(), recorded(spec()), Pin(7, DIGEST))
    assert (found["immutable"], found["data"]) == (True, {"version": "7", "digest": DIGEST})
    metadata = found["metadata"]
    assert (metadata["name"], metadata["labels"]) == ("digits-3-7f0c2c9e", names.labels("digits", 3))
    (reference,) = metadata["ownerReferences"]
    assert (reference["kind"], reference["name"], reference["uid"]) == (
        "ControllerRevision",
        "digits-3",
        "uid-of-the-record",
    )
    assert owner().foreign(found) is None  # ours, by its labels


def test_the_pin_comes_after_its_record_and_before_the_pods() -> None:
    given = RenderInput(owner(), spec(), recorded(spec()), 1, terminate_first=False, several=False, pin=Pin(7, DIGEST))
    kinds = [child["kind"] for child in render.children(given)]
    assert kinds == ["ControllerRevision", "ConfigMap", "Service", "Service", "Deployment"]


@pytest.mark.parametrize("wanted", [{"pin": None}, {"pin": Pin(7, DIGEST), "uid": ""}])
def test_no_pin_before_it_is_known_and_its_record_is_there(wanted: dict[str, Any]) -> None:
    kept = recorded(spec(), wanted.get("uid", "u"))
    children = render.children(
        RenderInput(owner(), spec(), kept, 1, terminate_first=False, several=False, pin=wanted["pin"])
    )
    assert "ConfigMap" not in {child["kind"] for child in children}


def test_a_pin_is_read_back() -> None:
    kept = recorded(spec())
    children = {Ref("ConfigMap", "digits-3-7f0c2c9e"): revision_objects.pin(owner(), kept, Pin(7, DIGEST))}
    assert revisions.read_pin(children, "digits", kept) == Pin(7, DIGEST)


@pytest.mark.parametrize(
    "change",
    [
        {"data": None},
        {"data": {"version": "x", "digest": DIGEST}},
        {"data": {"version": "7", "digest": ""}},
        {"data": {"version": 7, "digest": DIGEST}},
        {"metadata": {"ownerReferences": [{"uid": "of an earlier record"}]}},
        {"metadata": {}},
        {"metadata": None},
    ],
)
def test_what_is_no_pin_of_the_record_is_none(change: Manifest) -> None:
    kept = recorded(spec())
    body = revision_objects.pin(owner(), kept, Pin(7, DIGEST)) | change
    assert revisions.read_pin({Ref("ConfigMap", "digits-3-7f0c2c9e"): body}, "digits", kept) is None


def test_no_pin_of_a_record_that_is_not_in_the_cluster() -> None:
    kept = recorded(spec(), uid="")
    body = revision_objects.pin(owner(), kept, Pin(7, DIGEST))
    assert revisions.read_pin({Ref("ConfigMap", "digits-3-7f0c2c9e"): body}, "digits", kept) is None
    assert revisions.read_pin({}, "digits", recorded(spec())) is None


# The Deployment


@pytest.mark.parametrize(
    ("fields", "rolling"),
    [
        ({}, {"maxSurge": "25%", "maxUnavailable": 0}),
        ({"one_by_one": True}, {"maxSurge": 1, "maxUnavailable": 0}),
        ({"terminate_first": True}, {"maxSurge": 0, "maxUnavailable": 1}),
        ({"terminate_first": True, "one_by_one": True}, {"maxSurge": 0, "maxUnavailable": 1}),
    ],
)
def test_one_pod_at_a_time_while_nobody_knows_what_the_others_must_fetch(
    fields: dict[str, bool], rolling: Manifest
) -> None:
    assert deployment(spec(), **fields)["strategy"]["rollingUpdate"] == rolling


def test_whether_it_is_paused_is_always_said() -> None:
    """A field that is no longer sent is not compared with what lives: a Deployment would stay paused for ever."""
    assert deployment(spec())["paused"] is False
    assert deployment(spec(), paused=True)["paused"] is True
