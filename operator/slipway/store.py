"""Store: what was observed last. The watches and the answers of the API server fill it, the reconciler reads it.

Rules: the newest resourceVersion wins, whatever order news arrives in; what was deleted stays deleted although an
older answer comes later; bodies are kept as JSON text, because there are thousands and few are looked at.
"""

import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from slipway import names
from slipway.api import KIND
from slipway.observed import Key, Manifest, Observed, Pod, Ref

_TOMBSTONES = 10_000
_WITHOUT_STATUS = frozenset({"Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "ControllerRevision"})
"""Kinds whose status nobody here reads; an autoscaler's changes every 15 seconds."""
_KEPT_OF_DATA, _KEPT_LENGTH = ("version", "digest"), 256
"""What is kept of a ConfigMap: a pin holds nothing else, and somebody else's may hold a megabyte."""
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(slots=True)
class _Entry:
    """One object: its version, identity and what is kept of it."""

    version: int
    uid: str
    value: bytes | Pod


class Store:
    """Everything observed, by ModelDeployment."""

    def __init__(self, project: Callable[[Manifest], Pod]) -> None:
        """Make an empty store; `project` turns the JSON of a pod into what is kept of it."""
        self._project = project
        self._resources: dict[Key, _Entry] = {}
        self._children: dict[Key, dict[Ref, _Entry]] = {}
        self._homes: dict[tuple[str, Ref], Key] = {}
        self._dead: OrderedDict[str, int] = OrderedDict()

    def __len__(self) -> int:
        """Return how many ModelDeployments are known."""
        return len(self._resources)

    def keys(self) -> tuple[Key, ...]:
        """Return all ModelDeployments."""
        return tuple(self._resources)

    def uid(self, key: Key) -> str | None:
        """Return the uid of a ModelDeployment, or None."""
        entry = self._resources.get(key)
        return entry.uid if entry else None

    def snapshot(self, key: Key) -> Observed:
        """Return all that is known of one ModelDeployment, as values of its own."""
        resource = self._resources.get(key)
        children: dict[Ref, Manifest] = {}
        pods: list[Pod] = []
        for ref, entry in self._children.get(key, {}).items():
            if isinstance(entry.value, Pod):
                pods.append(entry.value)
            else:
                children[ref] = _load(entry)
        for ref in names.claimed(key.name):  # the same field manager applied them: no conflict would keep them apart
            holder = self._homes.get((key.namespace, ref))
            if holder is not None and holder != key:
                children[ref] = _load(self._children[holder][ref])
        pods.sort(key=lambda pod: pod.name)
        return Observed(_load(resource) if resource else None, children, tuple(pods))

    def resource(self, key: Key) -> Manifest | None:
        """Return the ModelDeployment alone, or None."""
        entry = self._resources.get(key)
        return _load(entry) if entry else None

    def child(self, key: Key, ref: Ref) -> Manifest | None:
        """Return one child that is not a pod, or None."""
        entry = self._children.get(key, {}).get(ref)
        return None if entry is None or isinstance(entry.value, Pod) else _load(entry)

    def digest(self, key: Key, ref: Ref) -> int:
        """Return a digest of what is kept of one child, within this process; 0 where there is none."""
        entry = self._children.get(key, {}).get(ref)
        return hash(entry.value) if entry else 0

    def put(self, body: Manifest) -> frozenset[Key]:
        """Take in one object as the API server sent it (the body is changed); return the keys whose picture changed."""
        return self._put_resource(body) if body["kind"] == KIND else self._put_child(body)

    def drop(self, body: Manifest) -> frozenset[Key]:
        """Take in that an object is gone, or has left what is watched; return the keys whose picture changed."""
        metadata = body["metadata"]
        version = int(metadata["resourceVersion"])
        self._bury(metadata["uid"], version)
        return self._forget(
            body["kind"], metadata["namespace"], metadata["name"], lambda entry: entry.version <= version
        )

    def remove(self, kind: str, namespace: str, name: str, uid: str) -> frozenset[Key]:
        """Take in that the object with this uid is gone; return the keys whose picture changed."""
        return self._forget(kind, namespace, name, lambda entry: entry.uid == uid)

    def keep_only(
        self, kind: str, namespace: str | None, seen: Iterable[tuple[str, str]], version: int
    ) -> frozenset[Key]:
        """Take in a complete list of one kind: forget what it lacks and what is not newer than it.

        Args:
            kind: what was listed.
            namespace: where; None for everywhere.
            seen: namespace and name of everything in the list.
            version: resourceVersion of the list.
        """
        alive = set(seen)
        changed: set[Key] = set()
        if kind == KIND:
            known = [(key.namespace, key.name) for key in self._resources]
        else:
            known = [(space, ref.name) for space, ref in self._homes if ref.kind == kind]
        for space, name in known:
            if (space, name) not in alive and namespace in {None, space}:
                changed |= self._forget(kind, space, name, lambda entry: entry.version <= version)
        return frozenset(changed)

    def _put_resource(self, body: Manifest) -> frozenset[Key]:
        metadata = body["metadata"]
        key = Key(metadata["namespace"], metadata["name"])
        version, uid = int(metadata.pop("resourceVersion")), metadata["uid"]
        known = self._resources.get(key)
        if self._stale(known, uid, version):
            return frozenset()
        metadata.pop("managedFields", None)
        if (annotations := metadata.get("annotations")) and _LAST_APPLIED in annotations:
            del annotations[_LAST_APPLIED]
        value = _dump(body)
        self._resources[key] = _Entry(version, uid, value)
        return frozenset() if known and known.value == value else frozenset((key,))

    def _put_child(self, body: Manifest) -> frozenset[Key]:
        metadata = body["metadata"]
        namespace = metadata["namespace"]
        name = (metadata.get("labels") or {}).get(names.NAME_LABEL)
        ref = Ref(body["kind"], metadata["name"])
        home = self._homes.get((namespace, ref))
        if name is None:  # no longer ours to index
            return self._forget(ref.kind, namespace, ref.name, lambda _: True)
        key = Key(namespace, name)
        version, uid = int(metadata["resourceVersion"]), metadata["uid"]
        known = self._children.get(home, {}).get(ref) if home else None
        if self._stale(known, uid, version):
            return frozenset()
        changed = set() if home in {None, key} else set(self._forget(ref.kind, namespace, ref.name, lambda _: True))
        value = self._project(body) if ref.kind == "Pod" else _dump(_trim(body))
        self._children.setdefault(key, {})[ref] = _Entry(version, uid, value)
        self._homes[namespace, ref] = key
        if known is None or known.value != value:
            changed.add(key)
        return frozenset(changed)

    def _stale(self, known: _Entry | None, uid: str, version: int) -> bool:
        return (known is not None and version <= known.version) or version <= self._dead.get(uid, -1)

    def _bury(self, uid: str, version: int) -> None:
        self._dead[uid] = max(version, self._dead.pop(uid, -1))
        if len(self._dead) > _TOMBSTONES:
            self._dead.popitem(last=False)

    def _forget(self, kind: str, namespace: str, name: str, condition: Callable[[_Entry], bool]) -> frozenset[Key]:
        if kind == KIND:
            key = Key(namespace, name)
            entry = self._resources.get(key)
            if entry is None or not condition(entry):
                return frozenset()
            del self._resources[key]
        else:
            ref = Ref(kind, name)
            home = self._homes.get((namespace, ref))
            entry = self._children[home][ref] if home is not None else None
            if home is None or entry is None or not condition(entry):
                return frozenset()
            key = home
            del self._homes[namespace, ref], self._children[home][ref]
            if not self._children[home]:
                del self._children[home]
        self._bury(entry.uid, entry.version)
        return frozenset((key,))


def _load(entry: _Entry) -> Manifest:
    assert isinstance(entry.value, bytes)
    body: Manifest = json.loads(entry.value)
    body["metadata"]["resourceVersion"] = str(entry.version)
    return body


def _dump(body: Manifest) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _trim(body: Manifest) -> Manifest:
    metadata = body["metadata"]
    del metadata["resourceVersion"]
    fields = metadata.pop("managedFields", None)
    if body["kind"] == "Deployment" and fields is not None and _owns_replicas(fields):
        metadata[names.OWNS_REPLICAS] = True
    if body["kind"] in _WITHOUT_STATUS:
        body.pop("status", None)
    if body["kind"] == "ConfigMap":
        data = body.get("data") or {}
        body["data"] = {field: data[field][:_KEPT_LENGTH] for field in _KEPT_OF_DATA if field in data}
        body.pop("binaryData", None)
        metadata.pop("annotations", None)
    return body


def _owns_replicas(managed_fields: Iterable[Mapping[str, Any]]) -> bool:
    return any(
        entry.get("manager") == names.FIELD_MANAGER
        and entry.get("operation") == "Apply"
        and not entry.get("subresource")
        and "f:replicas" in entry.get("fieldsV1", {}).get("f:spec", {})
        for entry in managed_fields
    )
