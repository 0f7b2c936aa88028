"""What is rendered, applied to a real API server and read back, is in sync: no write is ever repeated.

Every golden case goes through server-side apply, defaulting and validation of the kinds that will run it.
"""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.cluster.api_client import Api, ApiError
from dev.cluster.controlplane import ControlPlane
from slipway import render
from slipway.api import ModelDeploymentSpec
from slipway.decide import Plan, State, diff, make_plan
from slipway.domain import revisions
from slipway.domain.names import Owner
from slipway.domain.objects import Apply, Delete, Observed, Pod, Ref
from slipway.domain.revisions import Pin
from slipway.kube import Cache
from slipway.kube.resources import IMMUTABLE_KINDS
from slipway.render import RenderInput
from tests.kit.builders import DEFAULTS, NOW, World, actions

GOLDEN = Path(__file__).parent.parent / "golden"
CASES = sorted(path.parent.name for path in GOLDEN.glob("*/input.yaml"))
DIGEST = "sha256:" + "a" * 64
PATHS = {
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments/{}",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps/{}",
    "ControllerRevision": "/apis/apps/v1/namespaces/{}/controllerrevisions/{}",
    "Service": "/api/v1/namespaces/{}/services/{}",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers/{}",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{}/poddisruptionbudgets/{}",
}


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    with ControlPlane() as plane:
        yield plane.api()


class Server:
    """Carries actions out on the API server, and observes through the operator's own cache."""

    def __init__(self, api: Api, case: str, namespace: str = "") -> None:
        namespace = namespace or case
        self.api = api
        self.body: dict[str, Any] = yaml.safe_load((GOLDEN / case / "input.yaml").read_text())
        self.body["metadata"]["namespace"] = namespace
        api.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
        self.key = World(self.body).key
        self.refs: set[Ref] = set()

    def path(self, ref: Ref) -> str:
        return PATHS[ref.kind].format(self.key.namespace, ref.name)

    def act(self, action: Apply | Delete) -> None:
        if isinstance(action, Delete):
            assert self.api.delete(self.path(action.ref))
            self.refs.discard(action.ref)
            return
        ref = Ref(action.manifest["kind"], action.manifest["metadata"]["name"])
        if action.create and ref.kind in IMMUTABLE_KINDS:
            collection = self.path(ref).rpartition("/")[0]
            query = f"fieldManager={action.manager}&fieldValidation=Strict"
            self.api._json("POST", f"{collection}?{query}", action.manifest, "application/json")
            self.refs.add(ref)
            return
        force = "false" if action.create else "true"
        query = f"fieldManager={action.manager}&force={force}&fieldValidation=Strict"
        self.api._json("PATCH", f"{self.path(ref)}?{query}", action.manifest, "application/apply-patch+yaml")
        self.refs.add(ref)

    def observed(self) -> Observed:
        cache = Cache(lambda body: Pod(body["metadata"]["name"], 0, "Pending"))  # type: ignore[arg-type]
        cache.upsert(json.loads(json.dumps(self.body)) | {"metadata": self.body["metadata"] | {"resourceVersion": "1"}})
        for ref in self.refs:
            cache.upsert(self.api.get(self.path(ref)))
        return cache.snapshot(self.key)

    def plan(self) -> Plan:
        return make_plan(State.gather(self.key, self.observed()), DEFAULTS, NOW)

    def apply(self, given: RenderInput) -> dict[str, str | None]:
        """Apply what is rendered, read it back; return where each object is not as it was sent."""
        children = render.children(given)
        for child in children:
            ref = Ref(child["kind"], child["metadata"]["name"])
            if ref.kind not in IMMUTABLE_KINDS or ref not in self.refs:
                self.act(Apply(child, create=ref not in self.refs, manager="slipway"))
        kept = self.observed().children
        refs = {Ref(child["kind"], child["metadata"]["name"]): child for child in children}
        return {str(ref): diff.difference(child, kept[ref]) for ref, child in refs.items()}

    def render_input(self, **fields: Any) -> RenderInput:
        """Return the input of the renderers for the first revision, with its ControllerRevision as the server keeps it."""
        spec = ModelDeploymentSpec.model_validate(self.body["spec"])
        owner = Owner(self.key, self.body["metadata"]["uid"])
        (revision,) = revisions.read(self.observed().children, owner)
        given = RenderInput(owner, spec, revision, 2, terminate_first=False, several=True)
        return dataclasses.replace(given, **fields)

    def settle(self) -> list[str]:
        plan = self.plan()
        for action in plan.actions:
            self.act(action)
        return actions(plan)

    def replicas(self) -> int:
        return int(self.api.get(self.path(Ref("Deployment", self.key.name)))["spec"]["replicas"])


@pytest.mark.parametrize("case", CASES)
def test_applied_and_read_back_is_in_sync(api: Api, case: str) -> None:
    server = Server(api, case)
    first = server.plan()
    assert first.actions
    for action in first.actions:
        server.act(action)
    children = server.observed().children
    differences = {
        str(ref): diff.difference(action.manifest, children[ref])
        for action in first.actions
        if isinstance(action, Apply)
        for ref in [Ref(action.manifest["kind"], action.manifest["metadata"]["name"])]
    }
    assert set(differences.values()) == {None}, differences
    assert actions(server.plan()) == []


def test_drift_is_repaired_and_other_managers_fields_stay(api: Api) -> None:
    server = Server(api, "pod-template")
    server.settle()
    deployment, service = (server.path(Ref(kind, "digits")) for kind in ("Deployment", "Service"))
    # Another manager's labels, annotations and sidecar, and a field that Slipway does not set.
    api.patch(
        deployment,
        {
            "metadata": {"labels": {"theirs": "1"}, "annotations": {"note": "x"}},
            "spec": {"template": {"spec": {"schedulerName": "another"}}},
        },
    )
    sidecar = [
        {"op": "add", "path": "/spec/template/spec/containers/-", "value": {"name": "proxy", "image": "proxy:1"}}
    ]
    api._json("PATCH", deployment, sidecar, "application/json-patch+json")  # type: ignore[arg-type]
    assert actions(server.plan()) == []
    # Drift.
    image = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "evil:1"}]
    api._json("PATCH", deployment, image, "application/json-patch+json")  # type: ignore[arg-type]
    api.patch(service, {"spec": {"selector": {"serving.slipway.dev/name": "digits", "extra": "1"}}})
    assert server.settle() == ["apply Service digits", "apply Deployment digits"]
    live = api.get(deployment)
    assert [container["image"] for container in live["spec"]["template"]["spec"]["containers"]] == [
        "tensorflow/serving:2.20.0",
        "proxy:1",
    ]
    assert live["metadata"]["labels"]["theirs"] == "1"
    assert api.get(service)["spec"]["selector"] == {"serving.slipway.dev/name": "digits"}
    assert actions(server.plan()) == []


def test_the_number_of_pods_survives_its_change_of_owner(api: Api) -> None:
    server = Server(api, "volume-pinned")
    server.body["metadata"]["namespace"] = "hand-over"
    api.create("/api/v1/namespaces", {"metadata": {"name": "hand-over"}})
    server.key = World(server.body).key
    server.body["spec"] |= {"replicas": 5, "resources": {"requests": {"cpu": "1"}}}
    server.settle()
    assert server.replicas() == 5
    server.body["spec"]["autoscaling"] = {"maxReplicas": 9}
    assert server.settle() == [
        "apply Deployment digits (slipway-scale)",
        "apply Deployment digits",
        "create HorizontalPodAutoscaler digits",
    ]
    assert server.replicas() == 5
    assert actions(server.plan()) == []
    api.patch(server.path(Ref("Deployment", "digits")), {"spec": {"replicas": 7}})  # as the autoscaler does
    assert actions(server.plan()) == []
    del server.body["spec"]["autoscaling"]
    server.body["spec"]["replicas"] = 7
    assert server.settle() == ["delete HorizontalPodAutoscaler digits"]  # the number stays, so no apply is needed
    assert server.replicas() == 7
    server.body["spec"]["replicas"] = 4
    assert server.settle() == ["apply Deployment digits"]
    assert server.replicas() == 4


def test_a_name_of_another_owner_is_a_conflict(api: Api) -> None:
    server = Server(api, "minimal")
    server.body["metadata"] |= {"namespace": "used", "name": "used"}
    api.create("/api/v1/namespaces", {"metadata": {"name": "used"}})
    server.key = World(server.body).key
    theirs = {"metadata": {"name": "used"}, "spec": {"selector": {"app": "theirs"}, "ports": [{"port": 80}]}}
    api.create("/api/v1/namespaces/used/services", theirs)
    with pytest.raises(ApiError) as caught:
        server.settle()
    assert caught.value.status == 409
    assert api.get("/api/v1/namespaces/used/services/used")["spec"]["selector"] == {"app": "theirs"}


def applied(api: Api, namespace: str, case: str = "gate-configmap") -> Server:
    """Return a golden case that is applied, in a namespace of its own."""
    server = Server(api, case, namespace)
    server.settle()
    return server


@pytest.mark.parametrize(
    "fields",
    [
        {"paused": True},
        {"one_by_one": True},
        {"terminate_first": True},
        {"pin": Pin(3, DIGEST)},
        {"paused": True, "one_by_one": True, "pin": Pin(3, DIGEST), "replicas": 0},
    ],
)
def test_each_step_of_a_rollout_is_kept_as_it_was_sent(api: Api, fields: dict[str, Any]) -> None:
    server = applied(api, "step-" + "-".join(fields).replace("_", "-"))
    for step in (fields, {}, fields):  # applied, taken back, and applied again
        differences = server.apply(server.render_input(**step))
        assert set(differences.values()) == {None}, differences
        live = server.api.get(server.path(Ref("Deployment", "digits")))["spec"]
        assert live.get("paused", False) is step.get("paused", False)


def test_a_pause_by_hand_is_drift(api: Api) -> None:
    server = applied(api, "paused-by-hand")
    deployment = server.path(Ref("Deployment", "digits"))
    api.patch(deployment, {"spec": {"paused": True}})
    assert server.settle() == ["apply Deployment digits"]
    assert "paused" not in api.get(deployment)["spec"]
    assert actions(server.plan()) == []


def test_a_pin_cannot_be_changed_and_never_takes_over_a_users_configmap(api: Api) -> None:
    server = applied(api, "pins")
    server.apply(server.render_input(pin=Pin(3, DIGEST)))
    ref = Ref("ConfigMap", "digits-1-7f0c2c9e")
    with pytest.raises(ApiError, match="immutable"):
        api.patch(server.path(ref), {"data": {"version": "4"}})
    revision = server.render_input().revision
    assert revisions.read_pin(server.observed().children, "digits", revision) == Pin(3, DIGEST)

    theirs = applied(api, "pins-of-users")
    api.create("/api/v1/namespaces/pins-of-users/configmaps", {"metadata": {"name": ref.name}, "data": {"theirs": "1"}})
    with pytest.raises(ApiError) as caught:
        theirs.apply(theirs.render_input(pin=Pin(3, DIGEST)))
    assert caught.value.status == 409
    kept = api.get(theirs.path(ref))
    assert (kept["data"], kept.get("immutable"), kept["metadata"].get("ownerReferences")) == (
        {"theirs": "1"},
        None,
        None,
    )


def test_pods_are_admitted_under_the_restricted_standard(api: Api) -> None:
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    api.create("/api/v1/namespaces", {"metadata": {"name": "restricted", "labels": labels}})
    account = {"metadata": {"name": "default"}}
    api.create("/api/v1/namespaces/restricted/serviceaccounts", account)
    for case in CASES:
        server = Server(api, case)
        deployment = next(
            action.manifest
            for action in World(server.body).plan().actions
            if isinstance(action, Apply) and action.manifest["kind"] == "Deployment"
        )
        template = deployment["spec"]["template"]
        pod = {"metadata": template["metadata"] | {"name": case}, "spec": template["spec"]}
        pod["spec"].pop("serviceAccountName", None)
        pod["spec"].pop("priorityClassName", None)
        assert api.create("/api/v1/namespaces/restricted/pods", pod), case
