"""A reconciler with a client that records its calls and fails where a test says so."""

import copy
from datetime import UTC, datetime
from typing import Any

from slipway.controller.executor import Executor
from slipway.controller.metrics import Metrics
from slipway.controller.reconciler import Reconciler
from slipway.controller.status_writer import StatusWriter
from slipway.domain.objects import Apply, Delete, Key, Manifest, Ref
from slipway.kube import ApiError, Cache, NotFoundError
from slipway.kube.recorder import EventRecorder
from slipway.status.pod import project
from tests.kit.builders import DEFAULTS

KEY = Key("ns", "digits")


class FakeClient:
    """Keeps what it is sent, as the API server would, without its defaults."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self.version = 100
        self.calls: list[str] = []
        self.errors: dict[str, list[ApiError]] = {}
        """Errors by call; the last one of a list is raised again and again."""
        self.statuses: list[Manifest] = []
        self.exists = True

    def _call(self, call: str) -> None:
        self.calls.append(call)
        errors = self.errors.get(call, [])
        if errors:
            raise errors.pop(0) if len(errors) > 1 else errors[0]

    def take_calls(self) -> list[str]:
        """Return the calls since the last time."""
        calls, self.calls = self.calls, []
        return calls

    async def apply(self, key: Key, action: Apply) -> None:
        kind, name = action.manifest["kind"], action.manifest["metadata"]["name"]
        self._call(f"apply {kind} {name}")
        body = copy.deepcopy(action.manifest)
        self.version += 1
        body["metadata"] |= {"uid": f"uid-{kind}-{name}", "resourceVersion": str(self.version)}
        self.cache.upsert(body)

    async def delete(self, key: Key, action: Delete) -> bool:
        self._call(f"delete {action.ref}")
        return True

    async def apply_status(self, key: Key, uid: str, status: Manifest) -> Manifest:
        self._call("status")
        body = self.cache.snapshot(key).resource
        assert body is not None
        self.version += 1
        body["metadata"]["resourceVersion"] = str(self.version)
        body["status"] = status
        self.statuses.append(status)
        self.cache.upsert(copy.deepcopy(body))
        return status

    async def get(self, kind: str, namespace: str, name: str) -> Manifest:
        self._call(f"get {kind} {name}")
        body = self.cache.snapshot(Key(namespace, name)).resource
        if not self.exists or body is None:
            raise NotFoundError("no such object")
        return body

    async def create(self, kind: str, namespace: str, body: Manifest) -> Manifest:
        self._call(f"create {kind} {body['reason']}")
        return body

    async def merge_patch(self, kind: str, namespace: str, name: str, patch: Manifest) -> Manifest:
        self._call(f"patch {kind}")
        return patch


class Bench:
    """A reconciler and everything around it."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.cache = Cache(project)
        self.client = FakeClient(self.cache)
        self.metrics = Metrics()
        self.reconciler = self.new_reconciler()

    def new_reconciler(self) -> Reconciler:
        """Return a reconciler that has reconciled nothing yet."""
        recorder = EventRecorder(self.client, "me", clock=self.clock, now=self.now, count=self.metrics.event)
        return Reconciler(
            self.cache,
            self.client,
            Executor(self.client, self.cache, self.metrics, clock=self.clock),
            StatusWriter(self.client, self.cache, recorder, self.metrics, clock=self.clock, now=self.now),
            DEFAULTS,
            self.metrics,
            clock=self.clock,
            now=self.now,
        )

    def clock(self) -> float:
        return self.time

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.time, UTC)

    def resource(self, generation: int = 1, **spec: Any) -> None:
        """Let the informer bring the ModelDeployment with this spec."""
        metadata = {"namespace": "ns", "name": "digits", "uid": "u", "generation": generation}
        metadata["resourceVersion"] = str(generation)
        known = self.cache.snapshot(KEY).resource
        if known:
            self.client.version += 1
            metadata["resourceVersion"] = str(self.client.version)
        body = {
            "apiVersion": "serving.slipway.dev/v1alpha1",
            "kind": "ModelDeployment",
            "metadata": metadata,
            "spec": {"model": {"uri": "pvc://models/digits"}} | spec,
        }
        if known and "status" in known:
            body["status"] = known["status"]
        self.cache.upsert(body)

    def pod(self, **status: Any) -> None:
        """Let the informer bring the pod with this status."""
        self.client.version += 1
        labels = {"serving.slipway.dev/name": "digits", "serving.slipway.dev/revision": "1"}
        metadata = {"namespace": "ns", "name": "digits-0", "uid": "p", "resourceVersion": str(self.client.version)}
        body = {"kind": "Pod", "metadata": metadata | {"labels": labels}, "spec": {}}
        body["status"] = {"phase": "Pending"} | status
        self.cache.upsert(body)

    def child_deleted(self, ref: Ref) -> frozenset[Key]:
        """Let the informer bring the deletion of a child; return the keys that changed."""
        self.client.version += 1
        metadata = {"namespace": "ns", "name": ref.name, "uid": f"uid-{ref.kind}-{ref.name}"}
        return self.cache.delete(
            {"kind": ref.kind, "metadata": metadata | {"resourceVersion": str(self.client.version)}}
        )
