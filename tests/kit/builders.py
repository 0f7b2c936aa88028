"""Builders of what the operator observes, and a world that responds to its actions as a cluster would."""

import copy
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any, Self

from slipway.api import PodState, Reason
from slipway.decide import Plan, State, make_plan
from slipway.domain import names, quantities
from slipway.domain.objects import Action, Delete, Key, Manifest, Observed, Pod, Ref, Rejection
from slipway.domain.servers import Defaults
from slipway.status import report

DEFAULTS = Defaults("tensorflow/serving", "2.20.0", "slipway/tools:0.1.0", "IfNotPresent")
NOW = datetime(2026, 11, 22, 8, 0, 0, tzinfo=UTC)
DIGEST = "sha256:" + "a" * 64
UID = "7f0c2c9e-0000-4000-8000-000000000001"


class Model:
    """Builds the body of a ModelDeployment."""

    def __init__(self, name: str = "digits", uri: str = "pvc://models/digits") -> None:
        self._body: Manifest = {
            "apiVersion": "serving.slipway.dev/v1alpha1",
            "kind": "ModelDeployment",
            "metadata": {"name": name, "namespace": "team-a", "uid": UID, "generation": 1},
            "spec": {"model": {"uri": uri}},
        }

    def spec(self, **fields: Any) -> Self:
        self._body["spec"].update(fields)
        return self

    def uri(self, uri: str) -> Self:
        self._body["spec"]["model"]["uri"] = uri
        return self

    def replicas(self, number: int) -> Self:
        return self.spec(replicas=number)

    def autoscaling(self, least: int, most: int) -> Self:
        self.spec(resources={"requests": {"cpu": "1"}})
        return self.spec(autoscaling={"minReplicas": least, "maxReplicas": most})

    def gpu(self, **fields: Any) -> Self:
        return self.spec(gpu=fields)

    def args(self, **flags: str) -> Self:
        return self.spec(runtime={"args": flags})

    def rollout(self, **fields: Any) -> Self:
        return self.spec(rollout=fields)

    def pods(self, **fields: Any) -> Self:
        return self.spec(podTemplate=fields)

    def uid(self, uid: str) -> Self:
        self._body["metadata"]["uid"] = uid
        return self

    def body(self) -> Manifest:
        return copy.deepcopy(self._body)


def a_pod(name: str = "digits-a", revision: int = 1, state: PodState = PodState.READY, **fields: Any) -> Pod:
    return Pod(name, revision, state, **fields)


def in_trouble(reason: Reason, message: str = "words", *, failed: bool = True, **fields: Any) -> Pod:
    return a_pod(state=PodState.FAILED, reason=reason, message=message, failed=failed, **fields)


class World:
    """One ModelDeployment in a cluster: what the operator applies becomes what it observes.

    Like the API server it counts generations, drops empty fields, rewrites quantities and tracks the owner of
    `spec.replicas`; like the Deployment controller it fills in numbers, on request.
    """

    def __init__(self, model: Model | Manifest, defaults: Defaults = DEFAULTS) -> None:
        self.body: Manifest = model.body() if isinstance(model, Model) else copy.deepcopy(model)
        self.key = Key(self.body["metadata"]["namespace"], self.body["metadata"]["name"])
        self.defaults = defaults
        self.children: dict[Ref, Manifest] = {}
        self.pods: tuple[Pod, ...] = ()
        self.rejections: tuple[Rejection, ...] = ()
        self.now = NOW
        self._uids = 0

    def ref(self, kind: str, name: str | None = None) -> Ref:
        return Ref(kind, name or self.key.name)

    @property
    def deployment(self) -> Manifest:
        return self.children[self.ref("Deployment")]

    @property
    def observed(self) -> Observed:
        # Through JSON, as from the cache: nothing shared, nothing that JSON cannot hold.
        body, children = json.loads(json.dumps([self.body, list(self.children.values())]))
        return Observed(body, {Ref(child["kind"], child["metadata"]["name"]): child for child in children}, self.pods)

    @property
    def state(self) -> State:
        return State.gather(self.key, self.observed)

    def plan(self) -> Plan:
        return make_plan(self.state, self.defaults, self.now)

    def write_status(self, plan: Plan | None = None) -> Manifest:
        """Compute the status and keep it, as a status write does."""
        self.body["status"] = report.compute(self.state, plan or self.plan(), self.rejections, self.now)
        written: Manifest = self.body["status"]
        return written

    def change(self, **fields: Any) -> Self:
        """Change the spec as `kubectl apply` does; a field given as None goes."""
        spec = self.body["spec"] | fields
        self.body["spec"] = {field: value for field, value in spec.items() if value is not None}
        self.body["metadata"]["generation"] += 1
        return self

    def later(self, seconds: float = 60) -> Self:
        self.now += timedelta(seconds=seconds)
        return self

    def settle(self) -> Plan:
        """Plan and act once; return the plan. A second plan must have no actions."""
        plan = self.plan()
        for action in plan.actions:
            self.act(action)
        assert actions(self.plan()) == []
        return plan

    def serve(self) -> Self:
        """Plan, act, roll out and write the status until nothing is left to do."""
        for _ in range(5):
            plan = self.plan()
            for action in plan.actions:
                self.act(action)
            self.roll_out()
            self.write_status()
            if not plan.actions and not self.plan().actions:
                return self
        raise AssertionError(actions(self.plan()))

    def act(self, action: Action) -> None:
        if isinstance(action, Delete):
            assert self.children.pop(action.ref)["metadata"]["uid"] == action.uid
            for ref, body in list(self.children.items()):  # the garbage collector
                if any(owner["uid"] == action.uid for owner in body["metadata"].get("ownerReferences", ())):
                    del self.children[ref]
            return
        manifest = json.loads(json.dumps(action.manifest))
        ref = Ref(manifest["kind"], manifest["metadata"]["name"])
        live = self.children.get(ref)
        assert (live is None) or not action.create
        if live is None:
            self._uids += 1
            live = {
                "metadata": {"uid": f"uid-{self._uids}", "generation": 0, "creationTimestamp": "2026-11-22T08:00:00Z"}
            }
        before = json.dumps(live.get("spec"), sort_keys=True)
        data = manifest.pop("data", None)  # opaque to the API server
        self.children[ref] = live = as_served(merge(live, manifest))
        if data is not None:
            live["data"] = data
        if ref.kind == "Deployment":
            self._own_replicas(live, manifest, action.manager)
        if json.dumps(live.get("spec"), sort_keys=True) != before:
            live["metadata"]["generation"] += 1

    def _own_replicas(self, live: Manifest, manifest: Manifest, manager: str) -> None:
        metadata, sent = live["metadata"], "replicas" in manifest["spec"]
        if manager == names.SCALE_MANAGER:
            metadata["x-test-scale-owner"] = True
        elif sent:
            metadata[names.OWNS_REPLICAS] = True
        elif metadata.pop(names.OWNS_REPLICAS, False) and not metadata.get("x-test-scale-owner"):
            live["spec"].pop("replicas", None)  # its only owner has stopped sending it
        live["spec"].setdefault("replicas", 1)

    def roll_out(self, *, ready: bool = True) -> Self:
        """Act as the Deployment controller: all pods are of the template; with `ready` they are Ready."""
        live, desired = self.deployment, self.deployment["spec"]["replicas"]
        number = names.revision_number(live["spec"]["template"])
        up = desired if ready else 0
        live["status"] = {
            "observedGeneration": live["metadata"]["generation"],
            "replicas": desired,
            "updatedReplicas": desired,
            "readyReplicas": up,
            "availableReplicas": up,
            "conditions": [
                {"type": "Available", "status": "True" if ready else "False"},
                {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
            ],
        }
        live["status"] = {field: value for field, value in live["status"].items() if value != 0}
        state = PodState.READY if ready else PodState.LOADING
        self.pods = tuple(
            a_pod(f"{self.key.name}-{number}-{index}", number, state, digest=DIGEST, model_version=3)
            for index in range(desired)
        )
        return self

    def numbers(self, **numbers: int) -> Self:
        self.deployment["status"].update(numbers)
        return self


def served(model: Model | Manifest, defaults: Defaults = DEFAULTS) -> World:
    """Return a world in which the model is served and its status is written."""
    return World(model, defaults).serve()


def merge(live: Any, sent: Any) -> Any:
    """Return the result of a server-side apply if the same manager owns every field."""
    if isinstance(live, dict) and isinstance(sent, dict):
        return live | {field: merge(live.get(field), value) for field, value in sent.items()}
    if isinstance(live, list) and sent and isinstance(sent[0], dict) and isinstance(sent[0].get("name"), str):
        known = {item.get("name"): item for item in live}
        ours = [merge(known.get(item["name"]), item) for item in sent]
        return ours + [item for item in live if item.get("name") not in {mine["name"] for mine in sent}]
    return copy.deepcopy(sent)


def as_served(node: Any, field: str = "") -> Any:
    """Return an object as the API server returns it: quantities rewritten, empty texts and false values left out."""
    if isinstance(node, list):
        return [as_served(item) for item in node]
    if not isinstance(node, dict):
        return node
    if field in {"requests", "limits"}:
        return {name: rewritten(text) for name, text in node.items()}
    kept = {name: as_served(value, name) for name, value in node.items() if not _left_out(value)}
    if "sizeLimit" in kept:
        kept["sizeLimit"] = rewritten(kept["sizeLimit"])
    return kept


def _left_out(value: Any) -> bool:
    return value is False or value is None or value in ("", [])


def rewritten(text: str) -> str:
    number = quantities.value(text)
    assert number is not None
    if number.denominator != 1:
        return f"{number * 1000}m" if (number * 1000).denominator == 1 else text
    for suffix, size in (("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10)):
        if number and Fraction(number, size).denominator == 1:
            return f"{Fraction(number, size)}{suffix}"
    return str(number)


def describe(action: Action) -> str:
    """Return an action in short: `create Service digits`, `apply Deployment digits (slipway-scale)` …"""
    if isinstance(action, Delete):
        return f"delete {action.ref}"
    manifest = action.manifest
    what = f"{'create' if action.create else 'apply'} {manifest['kind']} {manifest['metadata']['name']}"
    return what if action.manager == names.FIELD_MANAGER else f"{what} ({action.manager})"


def actions(plan: Plan) -> list[str]:
    return [describe(action) for action in plan.actions]


def condition(status: Manifest, kind: str) -> tuple[str, str, str]:
    """Return status, reason and message of a condition."""
    found = next(item for item in status["conditions"] if item["type"] == kind)
    return found["status"], found["reason"], found["message"]


def shuffled(node: Any, order: Sequence[int] = (2, 0, 1)) -> Any:
    """Return the same JSON with its maps in another order."""
    if isinstance(node, list):
        return [shuffled(item, order) for item in node]
    if not isinstance(node, dict):
        return node
    fields = sorted(node, key=lambda field: (order[len(field) % len(order)], field[::-1]))
    return {field: shuffled(node[field], order) for field in fields}
