"""What the administrator decides of pods, what a ModelDeployment says otherwise, and what recorded revisions keep."""

import json
from dataclasses import replace
from typing import Any

import pytest

from slipway.api import Resources
from slipway.domain import pod_defaults
from slipway.domain.objects import Manifest, Ref
from slipway.domain.pod_defaults import PodDefaults
from tests.kit.builders import DEFAULTS, Model, World, actions, served

GATE = {"golden": {"configMap": "set"}, "metrics": {"accuracy": ">=0.9"}}
SMALL: Manifest = {"requests": {"cpu": "50m"}, "limits": {"cpu": "100m"}}
LARGE: Manifest = {"limits": {"cpu": "1", "memory": "2Gi"}}
OTHERS = PodDefaults(
    Resources(**SMALL),
    Resources(**LARGE),
    run_as_user=None,
    run_as_group=0,
    fs_group=7,
    ca_config_map="ours",
    ca_key="k",
)


def gated() -> Model:
    return Model().rollout(gate=GATE)


def pod(model: Model, **pods: Any) -> Manifest:
    world = World(model, replace(DEFAULTS, pods=PodDefaults(**pods))).serve()
    found: Manifest = world.deployment["spec"]["template"]["spec"]
    return found


def resources(spec: Manifest) -> dict[str, Manifest]:
    return {item["name"]: item["resources"] for item in (*spec["initContainers"], *spec["containers"])}


def test_without_a_word_fetch_has_what_the_server_has() -> None:
    assert resources(pod(gated().spec(resources=LARGE))) == {
        "fetch": LARGE,
        "prober": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "server": LARGE,
    }
    assert resources(pod(gated()))["fetch"] == {"requests": {"cpu": "10m", "memory": "64Mi"}}


def test_the_administrators_word_counts_for_all_models() -> None:
    given = {"fetch_resources": Resources(**SMALL), "prober_resources": Resources(**SMALL)}
    assert resources(pod(gated().spec(resources=LARGE), **given)) == {"fetch": SMALL, "prober": SMALL, "server": LARGE}


def test_the_specs_word_counts_more() -> None:
    model = gated().pods(fetchResources=SMALL, proberResources=SMALL)
    given = {"fetch_resources": Resources(**LARGE), "prober_resources": Resources(**LARGE)}
    found = resources(pod(model, **given))
    assert found["fetch"] == found["prober"] == SMALL


def test_an_empty_object_leaves_them_to_the_limit_range() -> None:
    found = resources(pod(gated().pods(fetchResources={}, proberResources={}).spec(resources=LARGE)))
    assert found == {"fetch": {}, "prober": {}, "server": LARGE}


def test_an_empty_object_makes_no_revision_after_revision() -> None:
    world = served(gated().pods(fetchResources={}))
    assert (actions(world.plan()), world.plan().update) == ([], 1)


def test_quantities_that_mean_the_same_make_no_revision() -> None:
    world = served(gated().pods(proberResources=SMALL))
    same = {"requests": {"cpu": "0.05"}, "limits": {"cpu": "0.1"}}
    assert world.change(podTemplate={"proberResources": same}).plan().update == 1
    assert world.change(podTemplate={"proberResources": LARGE}).plan().update == 2


@pytest.mark.parametrize(
    ("pods", "left"),
    [
        ({}, {"runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532}),
        ({"run_as_user": None, "run_as_group": None, "fs_group": None}, {}),
        ({"run_as_user": 1000, "run_as_group": 0, "fs_group": None}, {"runAsUser": 1000, "runAsGroup": 0}),
    ],
)
def test_identities_can_be_left_to_the_cluster(pods: dict[str, Any], left: Manifest) -> None:
    spec = pod(gated(), **pods)
    assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}, **left}
    assert "65532" not in json.dumps(spec) or left.get("runAsUser") == 65532
    assert not any("runAsUser" in item["securityContext"] for item in (*spec["initContainers"], *spec["containers"]))


@pytest.mark.parametrize(
    ("uri", "golden", "mounted"),
    [
        ("https://models.example/m.tgz", {"configMap": "set"}, True),
        ("http://models.example/m.tgz", {"configMap": "set"}, True),  # it may redirect
        ("pvc://models/m", {"uri": "https://models.example/g"}, True),
        ("pvc://models/m", {"uri": "pvc://models/g"}, False),
        ("pvc://models/m", {"configMap": "set"}, False),
    ],
)
def test_downloads_know_the_authorities_of_the_administrator(uri: str, golden: Manifest, mounted: bool) -> None:  # noqa: FBT001
    spec = pod(Model(uri=uri).rollout(gate=GATE | {"golden": golden}), ca_config_map="ours", ca_key="ca.pem")
    fetch, prober = spec["initContainers"]
    volumes = [volume for volume in spec["volumes"] if volume["name"] == "ca"]
    assert ("--ca-dir=/ca" in fetch["args"], bool(volumes)) == (mounted, mounted)
    assert not any(mount["name"] == "ca" for mount in prober["volumeMounts"])
    if mounted:
        items = [{"key": "ca.pem", "path": "ca.pem"}]
        # Optional: a namespace without it still serves from public servers.
        assert volumes[0]["configMap"] == {"name": "ours", "items": items, "optional": True}
        assert {"--ca-name=ours", "--ca-key=ca.pem"} <= set(fetch["args"])
        assert {"name": "ca", "mountPath": "/ca", "readOnly": True} in fetch["volumeMounts"]


def test_other_defaults_restart_nothing_and_apply_from_the_next_change() -> None:
    world = served(Model(uri="https://models.example/m.tgz").rollout(gate=GATE))
    world.defaults = replace(DEFAULTS, pods=OTHERS)
    assert actions(world.plan()) == []
    world.change(runtime={"args": {"num_load_threads": "2"}}).serve()
    template = world.children[Ref("ControllerRevision", "digits-2")]["data"]["template"]
    assert pod_defaults.used_in(template) == OTHERS


@pytest.mark.parametrize("pods", [PodDefaults(), OTHERS])
def test_a_lost_record_is_made_again_with_the_defaults_of_its_time(pods: PodDefaults) -> None:
    model = Model(uri="https://models.example/m.tgz").rollout(gate=GATE)
    world = served(model, replace(DEFAULTS, pods=pods))
    template = world.deployment["spec"]["template"]
    del world.children[Ref("ControllerRevision", "digits-1")]
    world.defaults = replace(DEFAULTS, pods=PodDefaults(prober_resources=Resources(), fs_group=1, ca_config_map="new"))
    assert actions(world.plan()) == ["create ControllerRevision digits-1"]
    world.settle()
    assert world.deployment["spec"]["template"] == template


def test_what_is_no_template_of_slipways_is_read_without_a_fault() -> None:
    for strange in (None, {}, {"spec": {"initContainers": [{"name": "fetch", "resources": {"limits": {"cpu": {}}}}]}}):
        assert pod_defaults.used_in(strange).run_as_user is None
