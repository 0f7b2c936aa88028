"""Cache: what was observed last, by ModelDeployment. Informers and the responses to writes fill it, the reconciler reads it.

The newest resourceVersion wins, in whatever order objects arrive; a deleted object stays deleted although an older response
arrives later. Bodies are kept as JSON text, because there are thousands and few are read.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from slipway.api import KIND
from slipway.domain import names
from slipway.domain.objects import Key, Manifest, Observed, Pod, Ref
from slipway.kube.verification import Verification

_MAX_TOMBSTONES = 10_000
_WITHOUT_STATUS = frozenset({"Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "ControllerRevision"})
"""Kinds whose status the operator does not read; an autoscaler's changes every 15 seconds."""
_PIN_KEYS, _PIN_LENGTH = ("version", "digest"), 256
"""What is kept of a ConfigMap: a pin contains nothing else, and another owner's may contain a megabyte."""
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(slots=True)
class _Entry:
    """One object: its version, identity and what is kept of it."""

    version: int
    uid: str
    value: bytes | Pod


class Cache:
    """Everything observed, by ModelDeployment.

    Attributes:
        verification: which ModelDeployments this process has read from the API server itself.
    """

    def __init__(self, project: Callable[[Manifest], Pod]) -> None:
        """Make an empty cache; `project` turns the JSON of a pod into what is kept of it."""
        self.verification = Verification()
        self._project = project
        self._resources: dict[Key, _Entry] = {}
        self._children: dict[Key, dict[Ref, _Entry]] = {}
        self._keys: dict[tuple[str, Ref], Key] = {}
        """Key of each child, by namespace and reference."""
        self._tombstones: OrderedDict[str, int] = OrderedDict()

    def __len__(self) -> int:
        """Return the number of ModelDeployments."""
        return len(self._resources)

    def all_keys(self) -> tuple[Key, ...]:
        """Return all ModelDeployments."""
        return tuple(self._resources)

    def uid(self, key: Key) -> str | None:
        """Return the uid of a ModelDeployment, or None."""
        entry = self._resources.get(key)
        return entry.uid if entry else None

    def snapshot(self, key: Key) -> Observed:
        """Return everything known of one ModelDeployment; the values are the caller's own."""
        resource = self._resources.get(key)
        children: dict[Ref, Manifest] = {}
        pods: list[Pod] = []
        for ref, entry in self._children.get(key, {}).items():
            if isinstance(entry.value, Pod):
                pods.append(entry.value)
            else:
                children[ref] = _load(entry)
        for ref in names.contended(key.name):  # the same field manager applied them, so applying makes no conflict
            other = self._keys.get((key.namespace, ref))
            if other is not None and other != key:
                children[ref] = _load(self._children[other][ref])
        pods.sort(key=lambda pod: pod.name)
        return Observed(_load(resource) if resource else None, children, tuple(pods))

    def resource(self, key: Key) -> Manifest | None:
        """Return a ModelDeployment without its children, or None."""
        entry = self._resources.get(key)
        return _load(entry) if entry else None

    def child(self, key: Key, ref: Ref) -> Manifest | None:
        """Return one child that is not a pod, or None."""
        entry = self._children.get(key, {}).get(ref)
        return None if entry is None or isinstance(entry.value, Pod) else _load(entry)

    def digest(self, key: Key, ref: Ref) -> int:
        """Return a hash of what is kept of one child, valid within this process; 0 if there is none."""
        entry = self._children.get(key, {}).get(ref)
        return hash(entry.value) if entry else 0

    def upsert(self, body: Manifest) -> frozenset[Key]:
        """Store an object as the API server sent it (the body is modified); return the keys that changed."""
        return self._upsert_resource(body) if body["kind"] == KIND else self._upsert_child(body)

    def delete(self, body: Manifest) -> frozenset[Key]:
        """Remove an object after a DELETED event: it is gone, or left the selector. Return the keys that changed."""
        metadata = body["metadata"]
        version = int(metadata["resourceVersion"])
        self._bury(metadata["uid"], version)
        kind, namespace, name = body["kind"], metadata["namespace"], metadata["name"]
        return self._lost(kind, self._remove(kind, namespace, name, lambda entry: entry.version <= version))

    def forget(self, kind: str, namespace: str, name: str, uid: str) -> frozenset[Key]:
        """Remove an object that this process has found gone; return the keys that changed."""
        return self._remove(kind, namespace, name, lambda entry: entry.uid == uid)

    def replace(
        self, kind: str, namespace: str | None, listed: Iterable[tuple[str, str]], version: int
    ) -> frozenset[Key]:
        """Remove what a complete list of one kind lacks and what is not newer than it; return the keys that changed.

        Args:
            kind: what was listed.
            namespace: where; None for all namespaces.
            listed: namespace and name of everything in the list.
            version: resourceVersion of the list.
        """
        alive = set(listed)
        changed: set[Key] = set()
        if kind == KIND:
            known = [(key.namespace, key.name) for key in self._resources]
        else:
            known = [(space, ref.name) for space, ref in self._keys if ref.kind == kind]
        for space, name in known:
            if (space, name) not in alive and namespace in {None, space}:
                changed |= self._remove(kind, space, name, lambda entry: entry.version <= version)
        return self._lost(kind, frozenset(changed))

    def _lost(self, kind: str, keys: frozenset[Key]) -> frozenset[Key]:
        """Note that children are gone, perhaps because their owner is."""
        if kind != KIND:
            for key in keys:
                self.verification.mark_stale(key)
        return keys

    def _upsert_resource(self, body: Manifest) -> frozenset[Key]:
        metadata = body["metadata"]
        key = Key(metadata["namespace"], metadata["name"])
        version, uid = int(metadata.pop("resourceVersion")), metadata["uid"]
        known = self._resources.get(key)
        if self._outdated(known, uid, version):
            return frozenset()
        metadata.pop("managedFields", None)
        if (annotations := metadata.get("annotations")) and _LAST_APPLIED in annotations:
            del annotations[_LAST_APPLIED]
        value = _dump(body)
        self._resources[key] = _Entry(version, uid, value)
        return frozenset() if known and known.value == value else frozenset((key,))

    def _upsert_child(self, body: Manifest) -> frozenset[Key]:
        metadata = body["metadata"]
        namespace = metadata["namespace"]
        name = (metadata.get("labels") or {}).get(names.NAME_LABEL)
        ref = Ref(body["kind"], metadata["name"])
        old_key = self._keys.get((namespace, ref))
        if name is None:  # it lost its label
            return self._remove(ref.kind, namespace, ref.name, lambda _: True)
        key = Key(namespace, name)
        version, uid = int(metadata["resourceVersion"]), metadata["uid"]
        known = self._children.get(old_key, {}).get(ref) if old_key else None
        if self._outdated(known, uid, version):
            return frozenset()
        moved = old_key not in {None, key}
        changed = set(self._remove(ref.kind, namespace, ref.name, lambda _: True)) if moved else set()
        value = self._project(body) if ref.kind == "Pod" else _dump(_trim(body))
        self._children.setdefault(key, {})[ref] = _Entry(version, uid, value)
        self._keys[namespace, ref] = key
        if known is None or known.value != value:
            changed.add(key)
        return frozenset(changed)

    def _outdated(self, known: _Entry | None, uid: str, version: int) -> bool:
        return (known is not None and version <= known.version) or version <= self._tombstones.get(uid, -1)

    def _bury(self, uid: str, version: int) -> None:
        self._tombstones[uid] = max(version, self._tombstones.pop(uid, -1))
        if len(self._tombstones) > _MAX_TOMBSTONES:
            self._tombstones.popitem(last=False)

    def _remove(self, kind: str, namespace: str, name: str, condition: Callable[[_Entry], bool]) -> frozenset[Key]:
        if kind == KIND:
            key = Key(namespace, name)
            entry = self._resources.get(key)
            if entry is None or not condition(entry):
                return frozenset()
            del self._resources[key]
        else:
            ref = Ref(kind, name)
            owner = self._keys.get((namespace, ref))
            entry = self._children[owner][ref] if owner is not None else None
            if owner is None or entry is None or not condition(entry):
                return frozenset()
            key = owner
            del self._keys[namespace, ref], self._children[owner][ref]
            if not self._children[owner]:
                del self._children[owner]
        self._bury(entry.uid, entry.version)
        return frozenset((key,))


def _load(entry: _Entry) -> Manifest:
    assert isinstance(entry.value, bytes)
    body: Manifest = orjson.loads(entry.value)
    body["metadata"]["resourceVersion"] = str(entry.version)
    return body


def _dump(body: Manifest) -> bytes:
    # A copy: what orjson returns keeps the buffer that it was written to, three times as large.
    return bytes(memoryview(orjson.dumps(body)))


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
        body["data"] = {field: data[field][:_PIN_LENGTH] for field in _PIN_KEYS if field in data}
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
