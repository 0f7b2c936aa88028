"""Client: the verbs that the operator needs, on plain JSON objects.

Every object that a write returns goes into the cache at once (read-your-writes), so the next decision does not depend on an
older state.
"""

import random
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Protocol

import orjson

from slipway.api import KIND
from slipway.domain import names
from slipway.domain.objects import Apply, Delete, Key, Manifest
from slipway.kube import adoption
from slipway.kube.cache import Cache
from slipway.kube.errors import ConflictError, NotFoundError, ResourceExpiredError, RetryableError
from slipway.kube.resources import IMMUTABLE_KINDS, resource
from slipway.kube.transport import Request, Transport

_APPLY = "application/apply-patch+yaml"  # JSON is YAML
_MERGE = "application/merge-patch+json"
_PAGE = 100
"""Objects in one page of a list; a page is decoded as a whole, so this bounds memory."""
_EXPIRED = 410
_MAX_APPLIED = 4096
_UPSERTS = (b'{"type":"ADDED"', b'{"type":"MODIFIED"')
_VERSION = b'"resourceVersion":"'
_HEAD = 1000
"""Longest distance of the resourceVersion from the beginning: kind, name, namespace and uid come before it."""


class Fence(Protocol):
    """Bounds how long this process may write."""

    def remaining(self) -> float:
        """Return the seconds for which no other process can be the leader; 0 or less if that is not certain."""


class Client:
    """Reads and writes objects of one cluster."""

    def __init__(self, transport: Transport, cache: Cache, fence: Fence, watch_idle: float) -> None:
        """Connect; `fence` bounds every write, `watch_idle` seconds of silence end a watch."""
        self._transport = transport
        self._cache = cache
        self._fence = fence
        self._watch_idle = watch_idle
        self._applied: OrderedDict[str, None] = OrderedDict()
        """Versions that this process's applies created, and whose watch events have yet to come."""
        self._random = random.Random()  # noqa: S311 - spreads reconnections

    async def apply(self, key: Key, action: Apply) -> None:
        """Server-side apply one child; create it if its kind is immutable.

        Raises:
            ConflictError: it is to be created, but another owner's object has the name.
            ApiError: see its subclasses.
        """
        manifest = action.manifest
        if action.create and manifest["kind"] in IMMUTABLE_KINDS:
            body = await self._create_once(key, manifest, action.manager)
        elif action.create:
            body = await self._apply_new(key, manifest, action.manager)
        else:
            body = await self._apply(key, manifest, action.manager, force=True)
        version = body["metadata"]["resourceVersion"]
        self._cache.upsert(body)
        self._applied[version] = None
        if len(self._applied) > _MAX_APPLIED:
            self._applied.popitem(last=False)

    async def _apply(self, key: Key, manifest: Manifest, manager: str, *, force: bool) -> Manifest:
        query = {"fieldManager": manager, "force": "true" if force else "false"}
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        return await self._write("apply", "PATCH", kind, key.namespace, name, query=query, body=manifest)

    async def _apply_new(self, key: Key, manifest: Manifest, manager: str) -> Manifest:
        """Apply a child that does not exist as far as is known, but never to an object of another owner.

        An apply without force is not enough: it would take over an object whose fields happen not to conflict (a Service
        without a selector). An object that this manager has applied before is adopted: the response to an earlier request
        was lost, or its labels were removed.

        Raises:
            ConflictError: another owner's object has the name.
            ApiError: see its subclasses.
        """
        new = {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": adoption.NEVER}}
        try:
            return await self._apply(key, new, manager, force=False)
        except ConflictError:
            existing = await self._with_name(key, manifest)
        if not existing:
            raise RetryableError(f"{manifest['kind']} {manifest['metadata']['name']} was deleted a moment ago")
        if not any(adoption.was_applied_by(body, manager) for body in existing):
            raise ConflictError(adoption.FOREIGN)
        return await self._apply(key, manifest, manager, force=False)

    async def _create_once(self, key: Key, manifest: Manifest, manager: str) -> Manifest:
        """Create an immutable object, unless the same object exists already.

        It may: the response to an earlier request was lost, or another process sent it a moment ago.

        Raises:
            ConflictError: another object has the name.
            ApiError: see its subclasses.
        """
        kind = manifest["kind"]
        try:
            return await self._write(
                "create", "POST", kind, key.namespace, query={"fieldManager": manager}, body=manifest
            )
        except ConflictError:
            for body in await self._with_name(key, manifest, labelSelector=names.MANAGED_SELECTOR):
                if adoption.is_copy(body, manifest):
                    return {**body, "kind": kind, "apiVersion": resource(kind).api_version}
        raise ConflictError(adoption.FOREIGN)

    async def _with_name(self, key: Key, manifest: Manifest, **selector: str) -> list[Manifest]:
        """Return the objects with the name of a child; by a list, because the operator may list already."""
        found = resource(manifest["kind"])
        query = {**selector, "fieldSelector": f"metadata.name={manifest['metadata']['name']}"}
        listed = await self._read(Request("list", found.plural, "GET", found.path(key.namespace), query))
        return list(listed.get("items") or ())

    async def delete(self, key: Key, action: Delete) -> bool:
        """Delete one child if it still has that uid; return whether it is gone already (no finalizer holds it).

        Raises:
            ConflictError: an object with another uid has the name.
            ApiError: see its subclasses.
        """
        body = {"preconditions": {"uid": action.uid}, "propagationPolicy": "Background"}
        response = await self._write("delete", "DELETE", action.ref.kind, key.namespace, action.ref.name, body=body)
        return "deletionTimestamp" not in response.get("metadata", {})

    async def apply_status(self, key: Key, uid: str, status: Manifest) -> Manifest:
        """Server-side apply the whole status of a ModelDeployment; return the status as the server keeps it.

        Raises:
            NotFoundError: there is no such ModelDeployment, or another one has its name.
            ApiError: see its subclasses.
        """
        found = resource(KIND)
        manifest = {
            "apiVersion": found.api_version,
            "kind": KIND,
            "metadata": {"name": key.name, "namespace": key.namespace, "uid": uid},
            "status": status,
        }
        query = {"fieldManager": names.FIELD_MANAGER, "force": "true"}
        try:
            body = await self._write(
                "apply_status", "PATCH", KIND, key.namespace, key.name, subresource="status", query=query, body=manifest
            )
        except ConflictError as error:
            if "uid" in str(error).lower():
                raise NotFoundError(str(error)) from error
            raise RetryableError(str(error)) from error  # the server's own retries lost against other writers
        kept: Manifest = body.get("status") or {}
        self._cache.upsert(body)
        return kept

    async def get(self, kind: str, namespace: str, name: str, within: float | None = None) -> Manifest:
        """Return one object; raise NotFoundError if there is none. `within` (seconds) makes it urgent, as in `replace`."""
        path = resource(kind).path(namespace, name)
        return await self._read(_bounded(Request("get", resource(kind).plural, "GET", path), within))

    async def create(self, kind: str, namespace: str, body: Manifest, within: float | None = None) -> Manifest:
        """Create one object; raise ConflictError if the name exists. `within` (seconds) makes it urgent and unfenced, as in `replace`."""
        if within is None:
            return await self._write("create", "POST", kind, namespace, body=body)
        found = resource(kind)
        return await self._read(
            _bounded(Request("create", found.plural, "POST", found.path(namespace), body=body), within)
        )

    async def replace(self, kind: str, namespace: str, name: str, body: Manifest, within: float) -> Manifest:
        """Replace one object by a body with its resourceVersion, within so many seconds, ahead of other requests.

        Not fenced, because it renews the fence. Raises ConflictError if the object has changed since.
        """
        found = resource(kind)
        path = found.path(namespace, name)
        return await self._read(_bounded(Request("update", found.plural, "PUT", path, body=body), within))

    async def merge_patch(self, kind: str, namespace: str, name: str, patch: Manifest) -> Manifest:
        """Merge-patch one object."""
        return await self._write("patch", "PATCH", kind, namespace, name, body=patch, content_type=_MERGE)

    async def list_pages(
        self, kind: str, namespace: str | None, selector: str = "", limit: int = _PAGE
    ) -> AsyncIterator[tuple[list[Manifest], str]]:
        """Yield the objects of one kind, a page at a time, each with the resourceVersion of the list.

        Raises:
            ResourceExpiredError: the list took so long that its continue token has expired; list again.
        """
        found = resource(kind)
        query = {"limit": str(limit)} | ({"labelSelector": selector} if selector else {})
        while True:
            page = await self._read(Request("list", found.plural, "GET", found.path(namespace), query))
            items: list[Manifest] = page.get("items") or []
            for item in items:
                item["kind"], item["apiVersion"] = kind, found.api_version
            metadata = page["metadata"]
            yield items, metadata["resourceVersion"]
            if not metadata.get("continue"):
                return
            query["continue"] = metadata["continue"]

    async def watch(
        self, kind: str, namespace: str | None, selector: str, version: str
    ) -> AsyncIterator[tuple[str, Manifest]]:
        """Yield event type and object from one watch connection, until the server ends it or goes silent.

        The first event is OPENED, without an object: the server has accepted the watch.
        The event of a version that came back from an apply of this process is yielded as a BOOKMARK of that version: it is
        in the cache already, and not worth decoding.

        Raises:
            ResourceExpiredError: list again.
            ApiError: the watch failed, or the server reported an error in it.
        """
        found = resource(kind)
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "labelSelector": selector,
            "timeoutSeconds": str(self._random.randint(240, 480)),  # so that watches do not all end together
        }
        request = Request("watch", found.plural, "GET", found.path(namespace), query)
        async for line in self._transport.stream(request, self._watch_idle):
            if not line:
                yield "OPENED", {}
                continue
            if (known := self._applied_version(line)) is not None:
                yield "BOOKMARK", {"metadata": {"resourceVersion": known}}
                continue
            yield _event(line, found.plural)

    def _applied_version(self, line: bytes) -> str | None:
        """Return the version in an event if an apply of this process created it, else None.

        The API server writes `resourceVersion` before anything in the metadata that a user may fill with text.
        """
        if not self._applied or not line.startswith(_UPSERTS):
            return None
        begin = line.find(_VERSION, 0, _HEAD)
        if begin < 0:
            return None
        begin += len(_VERSION)
        version = line[begin : line.find(b'"', begin)].decode()
        if version not in self._applied:
            return None
        del self._applied[version]
        return version

    async def _read(self, request: Request) -> Manifest:
        """Return an object or a list; raise RetryableError for JSON that is neither, such as that of a proxy."""
        response = await self._transport.send(request)
        metadata = response.get("metadata") if isinstance(response, dict) else None
        if not isinstance(metadata, dict) or "resourceVersion" not in metadata:
            raise RetryableError(f"{request.verb} {request.resource}: not from the API server: {str(response)[:200]}")
        found: Manifest = response
        return found

    async def _write(  # noqa: PLR0913 - the parts of an HTTP request
        self,
        verb: str,
        method: str,
        kind: str,
        namespace: str,
        name: str = "",
        *,
        subresource: str = "",
        query: dict[str, str] | None = None,
        body: Any = None,
        content_type: str = "",
    ) -> Manifest:
        found = resource(kind)
        counted = f"{found.plural}/{subresource}" if subresource else found.plural
        content_type = content_type or (_APPLY if method == "PATCH" else "application/json")
        path = found.path(namespace, name, subresource)
        request = Request(verb, counted, method, path, query, body, content_type, self._fence.remaining)
        response: Manifest = await self._transport.send(request)
        return response


def _event(line: bytes, plural: str) -> tuple[str, Manifest]:
    """Return event type and object of a line of a watch.

    Raises:
        ResourceExpiredError: the server says so.
        RetryableError: it is another error of the server, or no event.
    """
    try:
        event = orjson.loads(line)
        event_type, body = event["type"], event["object"]
        if event_type != "ERROR":
            body["metadata"]["resourceVersion"]  # every caller relies on it
    except (ValueError, KeyError, TypeError) as error:
        raise RetryableError(f"watch {plural}: not an event: {line[:200]!r}") from error
    if event_type == "ERROR":
        if body.get("code") == _EXPIRED:
            raise ResourceExpiredError(str(body.get("message")))
        raise RetryableError(f"watch {plural}: {body.get('message') or body}")
    return event_type, body


def _bounded(request: Request, within: float | None) -> Request:
    """Return a request as an urgent one with a timeout in seconds; unchanged without one."""
    return request if within is None else replace(request, timeout=lambda: within, urgent=True)
