"""Resources that admission would reject: a CRD without rules, as after a downgrade. The valid ones are not affected."""

import random
import string
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.cluster.controlplane import ControlPlane
from dev.kit.eventually import eventually
from dev.kit.local_operator import Operator
from dev.kit.model_namespace import CRD, CRDS
from tests.integration.conftest import served
from tests.integration.world import World


def relaxed() -> dict[str, Any]:
    """Return the CRD with a spec that may be anything."""
    crd: dict[str, Any] = yaml.safe_load(CRD.read_text())
    for version in crd["spec"]["versions"]:
        schema = version["schema"]["openAPIV3Schema"]
        schema.pop("x-kubernetes-validations", None)
        schema["properties"]["spec"] = {"x-kubernetes-preserve-unknown-fields": True}
        version["additionalPrinterColumns"] = []
        version.get("subresources", {}).pop("scale", None)
    return crd


@pytest.fixture(scope="module")
def unvalidated() -> Iterator[ControlPlane]:
    with ControlPlane() as plane:
        plane.api().create(CRDS, relaxed())
        eventually(lambda: served(plane), "the kind is served")
        yield plane


def rubbish(rng: random.Random, depth: int = 0) -> Any:
    """Return any JSON."""
    letters = string.ascii_letters + "äß漢字🙂\u0000\u202e ./:{}$"
    leaves: list[Callable[[], Any]] = [
        lambda: None,
        lambda: rng.choice([True, False]),
        lambda: rng.choice([0, -1, 2**62, 1.5, -1e300]),
        lambda: "".join(rng.choices(letters, k=rng.randint(0, 80))),
        lambda: "x" * 5000,
    ]
    if depth > 3 or rng.random() < 0.5:
        return rng.choice(leaves)()
    if rng.random() < 0.5:
        return [rubbish(rng, depth + 1) for _ in range(rng.randint(0, 4))]
    return {rng.choice(_FIELDS): rubbish(rng, depth + 1) for _ in range(rng.randint(0, 5))}


_FIELDS = [
    "model",
    "uri",
    "version",
    "digest",
    "runtime",
    "image",
    "args",
    "batching",
    "gpu",
    "count",
    "product",
    "replicas",
    "autoscaling",
    "minReplicas",
    "maxReplicas",
    "metrics",
    "rollout",
    "strategy",
    "progressDeadline",
    "revisionHistoryLimit",
    "podTemplate",
    "labels",
    "annotations",
    "resources",
    "requests",
    "limits",
]
_FIXED: list[Any] = [
    {"model": {"uri": "ftp://host/x"}},
    {"model": {"uri": "https://user:secret@host/x.tar"}},
    {"model": {"uri": "pvc://models/../../etc"}},
    {"model": {"uri": "pvc://models/digits", "digest": "sha256:short"}},
    {"model": {"uri": "pvc://models/digits"}, "autoscaling": {"minReplicas": 5, "maxReplicas": 2}},
    {"model": {"uri": "pvc://models/digits"}, "replicas": -3},
    {"model": {"uri": "pvc://models/digits"}, "unknown": True},
    {"model": {"uri": "pvc://models/digits"}, "resources": {"requests": {"cpu": "lots"}}},
    {"model": {"uri": "pvc://models/" + "d" * 300_000}},
]


def test_poison_is_reported_and_the_valid_ones_converge(unvalidated: ControlPlane, tmp_path: Path) -> None:
    world = World(unvalidated, "poison")
    rng = random.Random(20)
    specs = [*_FIXED, *({name: rubbish(rng) for name in rng.sample(_FIELDS, 4)} for _ in range(120))]
    operator = Operator(unvalidated.kubeconfig("op", ["system:masters"]), tmp_path, "op", "--no-leader-elect").start()
    try:
        for number, spec in enumerate(specs):
            body = {
                "apiVersion": "serving.slipway.dev/v1alpha1",
                "kind": "ModelDeployment",
                "metadata": {"name": f"poison-{number}"},
                "spec": spec,
            }
            assert unvalidated.api().create(world.path("ModelDeployment"), body)
        world.create("good")
        world.settle("good")
        for number in range(len(_FIXED)):
            ready = eventually(partial(world.condition, f"poison-{number}"), f"{number} is reported")
            assert (ready["status"], ready["reason"]) == ("False", "InvalidSpec"), ready
            assert "spec" in ready["message"]
        assert "secret" not in operator.log()
        assert operator.alive()
        assert unvalidated.api().delete(world.path("Service", "good"))
        eventually(lambda: world.find("Service", "good"), "children are still watched")
        assert 'slipway_reconcile_total{result="error"}' not in operator.metrics(), operator.log()[-3000:]
    finally:
        operator.kill()


def test_a_resource_that_crashes_the_planner_is_reported(unvalidated: ControlPlane, tmp_path: Path) -> None:
    """An unexpected error: here the planner raises for one name, in the operator's own process."""
    world = World(unvalidated, "crash")
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name != 'slipway.controller.reconciler': return None\n"
        "        sys.meta_path.remove(self)\n"
        "        from slipway import decide\n"
        "        real = decide.make_plan\n"
        "        def make_plan(state, *rest):\n"
        "            if state.key.name == 'bad': raise ZeroDivisionError('this is unexpected')\n"
        "            return real(state, *rest)\n"
        "        decide.make_plan = make_plan\n"
        "        return None\n"
        "sys.meta_path.insert(0, Finder())\n"
    )
    operator = Operator(unvalidated.kubeconfig("crash", ["system:masters"]), tmp_path, "crash", "--no-leader-elect")
    operator.path = [tmp_path]
    operator.start()
    try:
        world.create("bad")
        world.create("good")
        world.settle("good")
        ready = eventually(lambda: world.condition("bad"), "Ready")
        assert ready["status"] == "False"
        assert "this is unexpected" in ready["message"]
        errors = 'slipway_reconcile_errors_total{error="ZeroDivisionError"}'
        assert operator.metrics()[errors] >= 1
        assert "[crash/bad]" in operator.log()
        assert operator.alive()
    finally:
        operator.kill()
