"""Version numbers of models: one bound at every border, and exact in JSON."""

import json
from dataclasses import replace
from typing import Any

import pytest

from slipway.api import parse_spec
from slipway.controller.metrics import ModelDeploymentFacts
from slipway.domain import names, revisions, versions
from slipway.domain.objects import Ref
from tests.kit.builders import Model, World
from tests.kit.pod_json import ended, pod

MAX = 2**63 - 1
NANOSECONDS = 1764358400123456789


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (0, 0), ("0", 0), ("007", 7), (MAX, MAX), (str(MAX), MAX), (NANOSECONDS, NANOSECONDS),
        (MAX + 1, None), (str(MAX + 1), None), (-1, None), ("-1", None), (True, None), (1.0, None), ("", None), (None, None),
        ("\u0661", None), ("1\n", None), ("9" * 5000, None),
    ],
)  # fmt: skip
def test_what_is_a_version(value: object, number: int | None) -> None:
    assert versions.read(value) == number


def test_json_carries_it_exactly() -> None:
    for number in (0, 2**53 - 1, 2**53, NANOSECONDS, MAX):
        shown = versions.shown(number)
        assert versions.read(shown) == number
        assert isinstance(shown, str) or float(shown or 0) == number
    assert versions.shown(None) is None


@pytest.mark.parametrize("number", [0, NANOSECONDS, MAX])
def test_a_revision_serves_it_from_fetch_to_metrics(number: int) -> None:
    world = World(Model().replicas(2))
    world.settle()
    world.roll_out()
    message = json.dumps({"digest": "sha256:" + "a" * 64, "version": number, "bytes": 10, "files": 2})
    fetched = pod().fetch(ended(0, "Completed", message)).project()
    assert fetched.model_version == number
    world.pods = tuple(replace(each, model_version=number) for each in world.pods)
    for _ in range(2):  # the pin, then the other pods
        for action in world.plan().actions:
            world.act(action)
    assert world.deployment["spec"]["replicas"] == 2, "all pods come"
    assert world.state.pins[1].version == number
    status = world.write_status()
    assert status["modelVersion"] == versions.shown(number) == status["history"][0]["modelVersion"]
    assert ModelDeploymentFacts.read(status, 2).model_version == str(number)
    (pin,) = (ref for ref in world.children if ref.kind == "ConfigMap")
    del world.children[pin]
    world.roll_out()
    world.serve()
    assert world.state.pins[1].version == number, "the status has recorded it"


def test_a_number_that_no_server_takes_stays_out_of_the_status() -> None:
    message = json.dumps({"digest": "sha256:" + "a" * 64, "version": MAX + 1})
    assert pod().fetch(ended(0, "Completed", message)).project().model_version is None


@pytest.mark.parametrize(("given", "number"), [("3", 3), (3, 3), (str(MAX), MAX), (0, 0)])
def test_the_spec_takes_numbers_and_texts(given: Any, number: int) -> None:
    spec = parse_spec("digits", {"model": {"uri": "pvc://models/digits", "version": given}})
    assert spec.model.version == number
    assert revisions.part(spec)["model"]["version"] == number
    template = World(Model().spec(model={"uri": "pvc://models/digits", "version": given})).plan()
    assert f"--version={number}" in str(template.actions)


def test_an_absurd_number_of_a_revision_is_not_counted_on() -> None:
    world = World(Model())
    for name, number in (("digits-9007199254740991", 2**53 - 1), ("digits-9223372036854775807", MAX)):
        body = {"kind": "ControllerRevision", "metadata": {"name": name, "uid": name}, "revision": number, "data": {}}
        world.children[Ref("ControllerRevision", name)] = body
    assert world.plan().update == 1
    assert names.digits(str(2**53)) is None
