"""A small cluster for the reconciler: an API server in memory, a Deployment controller, a kubelet, and an operator that can
be killed at any write.

All of it is deterministic and moves in rounds: `Cluster.round` lets the operator work until it has nothing to do, then the
controllers take one step. A source returns different content at each fetch, so two pods of one revision serve the same
only if the second reads the pin of what the first has found.
"""

import copy
import json
from datetime import UTC, datetime
from typing import Any

from slipway.controller.executor import Executor
from slipway.controller.metrics import Metrics
from slipway.controller.reconciler import Reconciler, Result
from slipway.controller.status_writer import StatusWriter
from slipway.domain import names
from slipway.domain.objects import Apply, Delete, Key, Manifest, Ref
from slipway.kube import ApiError, Cache, ConflictError, NotFoundError, RetryableError
from slipway.kube.recorder import EventRecorder
from slipway.status.pod import project
from tests.kit.builders import DEFAULTS, as_served, merge

KEY = Key("team-a", "digits")
ROUND_SECONDS = 10.0
LOAD_ROUNDS = 3
"""Rounds between the creation of a pod and its readiness."""


class Killed(BaseException):
    """The operator process ended in the middle of a reconciliation."""


class Server:
    """The API server, without its defaults."""

    def __init__(self) -> None:
        self.objects: dict[Ref, Manifest] = {}
        self.version = 0

    def put(self, body: Manifest) -> Manifest:
        self.version += 1
        ref = Ref(body["kind"], body["metadata"]["name"])
        metadata = body["metadata"]
        metadata.setdefault("namespace", KEY.namespace)
        metadata.setdefault("uid", f"uid-{self.version}")
        metadata.setdefault("creationTimestamp", "2026-11-22T08:00:00Z")
        metadata["resourceVersion"] = str(self.version)
        self.objects[ref] = body
        return body

    def of(self, kind: str) -> list[Manifest]:
        return [body for ref, body in sorted(self.objects.items()) if ref.kind == kind]

    @property
    def deployment(self) -> Manifest | None:
        return self.objects.get(Ref("Deployment", KEY.name))

    @property
    def resource(self) -> Manifest:
        return self.objects[Ref("ModelDeployment", KEY.name)]

    def apply(self, action: Apply) -> Manifest:
        manifest = json.loads(json.dumps(action.manifest))
        ref = Ref(manifest["kind"], manifest["metadata"]["name"])
        live = self.objects.get(ref)
        if live is not None and action.create and ref.kind == "ConfigMap":
            if live["data"] != manifest["data"]:
                raise ConflictError("exists")
            return live
        data = manifest.pop("data", None)
        before = json.dumps((live or {}).get("spec"), sort_keys=True)
        new: Manifest = as_served(merge(live or {"metadata": {"generation": 0}}, manifest))
        if data is not None:
            new["data"] = data
        if ref.kind == "Deployment":
            if action.manager == names.FIELD_MANAGER and "replicas" in manifest["spec"]:
                new["metadata"][names.OWNS_REPLICAS] = True
            new["spec"].setdefault("replicas", 1)
        if json.dumps(new.get("spec"), sort_keys=True) != before:
            new["metadata"]["generation"] = (live or new)["metadata"].get("generation", 0) + 1
        return self.put(new)

    def delete(self, ref: Ref) -> None:
        gone = self.objects.pop(ref, None)
        if gone is None:
            raise NotFoundError("no such object")
        for other, body in list(self.objects.items()):  # the garbage collector
            if any(owner["uid"] == gone["metadata"]["uid"] for owner in body["metadata"].get("ownerReferences", ())):
                del self.objects[other]


class Client:
    """The operator's client; its n-th write can kill the operator before or after it, or fail."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.cache: Cache | None = None
        self.writes = 0
        self.log: list[str] = []
        self.kill_before: int | None = None
        self.kill_after: int | None = None
        self.errors: dict[int, ApiError] = {}

    def _begin(self, what: str) -> None:
        self.writes += 1
        if self.kill_before == self.writes:
            raise Killed
        if self.writes in self.errors:
            raise self.errors[self.writes]
        self.log.append(what)

    def _end(self, body: Manifest | None) -> None:
        if self.kill_after == self.writes:
            raise Killed
        if body is not None and self.cache is not None:
            self.cache.upsert(copy.deepcopy(body))

    async def apply(self, key: Key, action: Apply) -> None:
        manifest = action.manifest
        self._begin(f"apply {manifest['kind']} {manifest['metadata']['name']}")
        self._end(self.server.apply(action))

    async def delete(self, key: Key, action: Delete) -> bool:
        self._begin(f"delete {action.ref}")
        self.server.delete(action.ref)
        self._end(None)
        return True

    async def apply_status(self, key: Key, uid: str, status: Manifest) -> Manifest:
        self._begin("status")
        body = copy.deepcopy(self.server.resource)
        body["status"] = json.loads(json.dumps(status))
        self.server.put(body)
        self._end(body)
        return dict(body["status"])

    async def get(self, kind: str, namespace: str, name: str) -> Manifest:
        return copy.deepcopy(self.server.resource)

    async def create(self, kind: str, namespace: str, body: Manifest) -> Manifest:
        return body

    async def merge_patch(self, kind: str, namespace: str, name: str, patch: Manifest) -> Manifest:
        return patch


class Cluster:
    """Server, controllers and one operator at a time."""

    def __init__(self, replicas: int = 2, **spec: Any) -> None:
        self.server = Server()
        self.client = Client(self.server)
        self.time = 1_000_000.0
        self.fetched = 0
        self.broken: set[str] = set()
        """URIs of models that cannot be fetched."""
        self.kills = 0
        spec = {"model": {"uri": "pvc://models/one"}, "replicas": replicas} | spec
        metadata = {"name": KEY.name, "generation": 1}
        body = {"apiVersion": "serving.slipway.dev/v1alpha1", "kind": "ModelDeployment", "metadata": metadata}
        self.server.put(body | {"spec": {field: value for field, value in spec.items() if value is not None}})
        self.start()

    # The operator

    def start(self) -> None:
        """Start a new operator process: it knows nothing but what the server has."""
        self.cache = Cache(project)
        self._watched = 0
        self.client.cache = self.cache
        metrics = Metrics()
        recorder = EventRecorder(self.client, "me", clock=self.clock, now=self.now, count=metrics.event)
        self.reconciler = Reconciler(
            self.cache,
            self.client,
            Executor(self.client, self.cache, metrics, clock=self.clock),
            StatusWriter(self.client, self.cache, recorder, metrics, clock=self.clock, now=self.now),
            DEFAULTS,
            metrics,
            clock=self.clock,
            now=self.now,
        )

    def clock(self) -> float:
        """Return the simulated time in seconds."""
        return self.time

    def now(self) -> datetime:
        """Return the simulated time."""
        return datetime.fromtimestamp(self.time, UTC)

    def twin(self) -> "Cluster":
        """Return a cluster in the same state, with an operator that has just been started."""
        other = Cluster()
        other.server = copy.deepcopy(self.server)
        other.client = Client(other.server)
        other.time, other.fetched, other.broken = self.time, self.fetched, set(self.broken)
        other.start()
        return other

    def kill(self) -> None:
        """Kill the process without notice, and start another one."""
        self.kills += 1
        self.client.kill_before = self.client.kill_after = None
        self.start()

    def watch(self) -> bool:
        """Deliver the watch events since the last call to the cache; return whether they changed it."""
        changed = False
        for body in list(self.server.objects.values()):
            if int(body["metadata"]["resourceVersion"]) > self._watched:
                changed |= bool(self.cache.upsert(copy.deepcopy(body)))
        self._watched = self.server.version
        known = self.cache.snapshot(KEY)
        alive = {body["metadata"]["uid"] for body in self.server.objects.values()}
        deleted = [(ref, body["metadata"]["uid"]) for ref, body in known.children.items()]
        deleted += [(Ref("Pod", pod.name), f"uid-of-{pod.name}") for pod in known.pods]
        for ref, uid in deleted:
            if uid not in alive:
                metadata = {"namespace": KEY.namespace, "name": ref.name, "uid": uid}
                metadata["resourceVersion"] = str(self.server.version)
                changed |= bool(self.cache.delete({"kind": ref.kind, "metadata": metadata}))
        return changed

    async def operate(self) -> None:
        """Let the operator work until no event and no due key is left."""
        for _ in range(20):
            self.watch()
            try:
                outcome = await self.reconciler.reconcile(KEY)
            except Killed:
                self.kill()
                return
            if outcome.result in {Result.RETRY, Result.ERROR} or outcome.requeue_after == 0.0:
                continue
            if outcome.result is not Result.CHANGED:
                return
        raise AssertionError("the operator does not settle")

    # The controllers

    def pods(self, number: int | None = None) -> list[Manifest]:
        return [pod for pod in self.server.of("Pod") if number in {None, names.revision_number(pod)}]

    def step(self) -> None:
        """Let the kubelet and the Deployment controller take one step, and advance the time."""
        self.time += ROUND_SECONDS
        for pod in self.pods():
            self._kubelet(pod)
        if self.server.deployment is not None:
            self._roll(self.server.deployment)

    def _kubelet(self, pod: Manifest) -> None:
        age = pod["x-age"] = pod.get("x-age", 0) + 1
        before = json.dumps(pod.get("status"), sort_keys=True)
        if age == 1:
            pod["status"] = self._fetch(pod)
        if age == LOAD_ROUNDS and "failed" not in pod:
            pod["status"] |= _conditions(ready=True)
            pod["status"]["containerStatuses"] = [{"name": "server", "ready": True, "started": True, "restartCount": 0}]
        if json.dumps(pod["status"], sort_keys=True) != before:
            self.server.put(pod)

    def _fetch(self, pod: Manifest) -> Manifest:
        template = pod["spec"]["initContainers"][0]
        uri = next(arg.removeprefix("--uri=") for arg in template["args"] if arg.startswith("--uri="))
        fetch: Manifest = {"name": "fetch"}
        if uri in self.broken:
            pod["failed"] = True
            message: Manifest = {"reason": "SourceNotFound", "message": f"there is nothing at {uri}"}
            fetch["state"] = {"terminated": {"exitCode": 1, "message": json.dumps(message)}}
        else:
            self.fetched += 1
            digest = f"sha256:{self.fetched:064x}"
            env = template.get("env", ())
            name = env[0]["valueFrom"]["configMapKeyRef"]["name"] if env else ""
            pin = self.server.objects.get(Ref("ConfigMap", name))
            message = {"version": 1, "digest": pin["data"]["digest"] if pin else digest}
            pod["x-digest"] = message["digest"]
            fetch["state"] = {"terminated": {"exitCode": 0, "message": json.dumps(message)}}
        return {"phase": "Pending", "initContainerStatuses": [fetch], **_conditions(ready=False)}

    def _roll(self, live: Manifest) -> None:
        spec, number = live["spec"], names.revision_number(live["spec"]["template"])
        desired = spec["replicas"]
        if not spec.get("paused"):
            rolling = spec["strategy"]["rollingUpdate"]
            surge, unavailable = _absolute(rolling["maxSurge"], desired), rolling["maxUnavailable"]
            old = [pod for pod in self.pods() if names.revision_number(pod) != number]
            for pod in sorted(old, key=_is_ready)[: len(old) if not self.pods(number) else None]:
                available = sum(_is_available(each, spec) for each in self.pods())
                if not _is_ready(pod) or available > desired - unavailable:
                    self._remove(pod)
            for pod in sorted(self.pods(number), key=_is_ready)[: max(0, len(self.pods(number)) - desired)]:
                self._remove(pod)
            while len(self.pods(number)) < desired and len(self.pods()) < desired + surge:
                self._add(live, number)
        self._count(live, number)

    def _add(self, live: Manifest, number: int) -> None:
        used = {pod["metadata"]["name"] for pod in self.pods()}
        name = next(name for index in range(99) if (name := f"{KEY.name}-{number}-{index}") not in used)
        template = live["spec"]["template"]
        metadata = {"name": name, "labels": dict(template["metadata"]["labels"]), "uid": f"uid-of-{name}"}
        self.server.put({"kind": "Pod", "metadata": metadata, "spec": copy.deepcopy(template["spec"]), "status": {}})

    def _remove(self, pod: Manifest) -> None:
        self.server.delete(Ref("Pod", pod["metadata"]["name"]))

    def _count(self, live: Manifest, number: int) -> None:
        ready = sum(_is_ready(pod) for pod in self.pods())
        available = sum(_is_available(pod, live["spec"]) for pod in self.pods())
        status = {
            "observedGeneration": live["metadata"]["generation"],
            "replicas": len(self.pods()),
            "updatedReplicas": len(self.pods(number)),
            "readyReplicas": ready,
            "availableReplicas": available,
            "conditions": [
                {"type": "Available", "status": str(available >= live["spec"]["replicas"])},
                {"type": "Progressing", "status": "True"},
            ],
        }
        if live.get("status") != status:
            live["status"] = status
            self.server.put(live)

    async def round(self) -> None:
        """Let everything work once."""
        await self.operate()
        self.step()

    async def settle(self) -> None:
        """Go on until nothing changes any more, for longer than anything waits."""
        quiet = 0
        for _ in range(400):
            before = self.server.version
            await self.round()
            quiet = quiet + 1 if self.server.version == before else 0
            if quiet > LOAD_ROUNDS + 1:
                return
        raise AssertionError("it does not settle")

    # The user

    def edit(self, annotations: dict[str, str] | None = None, **spec: Any) -> None:
        """Change the spec as `kubectl apply` does; a field given as None goes."""
        body = copy.deepcopy(self.server.resource)
        changed = body["spec"] | spec
        body["spec"] = {field: value for field, value in changed.items() if value is not None}
        if spec:
            body["metadata"]["generation"] += 1
        if annotations is not None:
            body["metadata"]["annotations"] = annotations
        self.server.put(body)

    # The result

    @property
    def status(self) -> Manifest:
        found: Manifest = self.server.resource.get("status") or {}
        return found

    @property
    def deployed(self) -> int:
        return names.revision_number((self.server.deployment or {}).get("spec", {}).get("template"))

    def state(self) -> Manifest:
        """Return everything that must be the same whatever happened on the way: no times, versions and digests."""
        digests = {pod["x-digest"]: f"of {names.revision_number(pod)}" for pod in self.pods() if "x-digest" in pod}
        return {
            "status": _timeless(self.status, digests),
            "children": {
                str(Ref(body["kind"], body["metadata"]["name"])): _timeless(
                    [body.get("spec"), body.get("data")], digests
                )
                for ref, body in self.server.objects.items()
                if ref.kind not in {"Pod", "ModelDeployment"}
            },
            "pods": sorted((names.revision_number(pod), _is_ready(pod)) for pod in self.pods()),
        }


def _timeless(node: Any, digests: dict[str, str]) -> Any:
    if isinstance(node, dict):
        dropped = {"lastTransitionTime", "startTime", "digest"}
        return {field: _timeless(value, digests) for field, value in node.items() if field not in dropped}
    if isinstance(node, list):
        return [_timeless(item, digests) for item in node]
    return node


def _conditions(*, ready: bool) -> Manifest:
    return {"conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": str(ready)}]}


def _is_ready(pod: Manifest) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def _is_available(pod: Manifest, spec: Manifest) -> bool:
    """Tell whether a pod has been Ready for as long as the Deployment's spec demands."""
    return _is_ready(pod) and (pod["x-age"] - LOAD_ROUNDS) * ROUND_SECONDS >= spec.get("minReadySeconds", 0)


def _absolute(amount: int | str, desired: int) -> int:
    return -(-desired * int(amount.removesuffix("%")) // 100) if isinstance(amount, str) else amount


def overloaded() -> RetryableError:
    return RetryableError("the server is overloaded")
