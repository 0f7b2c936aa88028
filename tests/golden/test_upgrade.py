"""What a former release applied keeps running under this one: no write, no restart, and the same pods if they are made again.

Each folder of `releases/VERSION` is a golden case as that release rendered it: input.yaml the resource, expected.yaml the
objects. They are never written anew; a release adds a folder of its own with a copy of every case.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway.api import Resources
from slipway.domain import names
from slipway.domain.objects import Apply
from slipway.domain.pod_defaults import PodDefaults
from slipway.domain.revisions import from_template
from tests.kit.builders import DEFAULTS, World, actions

RELEASES = Path(__file__).parent / "releases"
CASES = sorted(str(path.parent.relative_to(RELEASES)) for path in RELEASES.glob("*/*/input.yaml"))
_PODS = PodDefaults(Resources(), Resources(), run_as_user=None, run_as_group=0, fs_group=1, ca_config_map="authorities")
LATER = dataclasses.replace(
    DEFAULTS, version="2.99.0", tools_image="slipway/tools:9.9.9", pull_policy="Always", pods=_PODS
)
"""Defaults of this release, none of which is what it was."""


def objects(case: str) -> list[dict[str, Any]]:
    """Return what the former release applied; its files have the pod template once."""
    found = list(yaml.safe_load_all((RELEASES / case / "expected.yaml").read_text()))
    template = next(item["spec"]["template"] for item in found if item["kind"] == "Deployment" and whole(item))
    for item in found:
        if item["kind"] == "ControllerRevision":
            item["data"]["template"] = template
    return found


def whole(manifest: dict[str, Any]) -> bool:
    """Tell an object from the hand-over of its number of replicas."""
    return "labels" in manifest["metadata"]


def the(case: str, kind: str) -> dict[str, Any]:
    return next(manifest for manifest in objects(case) if manifest["kind"] == kind and whole(manifest))


def upgraded(case: str) -> World:
    """Return a world in which the former release served the model, and this one has just taken over."""
    world = World(yaml.safe_load((RELEASES / case / "input.yaml").read_text()), LATER)
    for manifest in objects(case):
        manager = names.FIELD_MANAGER if whole(manifest) else names.SCALE_MANAGER
        there = world.ref(manifest["kind"], manifest["metadata"]["name"]) in world.children
        world.act(Apply(manifest, create=not there, manager=manager))
    return world.roll_out()


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_written_and_no_revision_is_made(case: str) -> None:
    world = upgraded(case)
    plan = world.plan()
    assert (actions(plan), plan.update, plan.problem) == ([], 1, None)
    world.write_status()
    assert actions(world.plan()) == []


@pytest.mark.parametrize("case", CASES)
def test_the_recorded_pods_are_rolled_out_to_the_letter(case: str) -> None:
    """Not only what they mean: the Deployment controller takes a pod template that differs at all for a new one."""
    world = upgraded(case)
    del world.children[world.ref("Deployment")]
    sent = [action.manifest for action in world.plan().actions if isinstance(action, Apply)]
    deployment = next(manifest for manifest in sent if manifest["kind"] == "Deployment" and whole(manifest))
    record = the(case, "ControllerRevision")
    assert json.dumps(deployment["spec"]["template"]) == json.dumps(record["data"]["template"])
    assert json.dumps(record["data"]["template"]) == json.dumps(the(case, "Deployment")["spec"]["template"])


@pytest.mark.parametrize("case", CASES)
def test_a_change_that_makes_no_revision_leaves_the_pods_alone(case: str) -> None:
    world = upgraded(case).change(rollout={"progressDeadline": "20m"})
    (action,) = world.plan().actions
    assert isinstance(action, Apply)
    assert action.manifest["kind"] == "Deployment"
    assert json.dumps(action.manifest["spec"]["template"]) == json.dumps(the(case, "Deployment")["spec"]["template"])


@pytest.mark.parametrize("case", CASES)
def test_pods_of_a_release_without_pins_get_none(case: str) -> None:
    template = the(case, "Deployment")["spec"]["template"]
    assert from_template(1, template).uses_pin == ("SLIPWAY_PINNED_DIGEST" in json.dumps(template))


def test_there_are_releases() -> None:
    assert {case.split("/")[0] for case in CASES} >= {"0.1.0"}
