"""Cluster: the verbs that the loop needs, on plain JSON objects.

Every object that the API server answers with goes into the store at once (read-your-write), so that the next decision
does not rest on an older picture.
"""

import json
import random
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any, Protocol

from slipway import names
from slipway.api import KIND
from slipway.cluster import taken
from slipway.cluster.connection import Connection, Request
from slipway.cluster.errors import Conflict, Expired, Gone, TryLater
from slipway.cluster.kinds import CREATED_KINDS, resource
from slipway.observed import Apply, Delete, Key, Manifest

_APPLY = "application/apply-patch+yaml"  # JSON is YAML
_MERGE = "application/merge-patch+json"
_PAGE = 100
"""Objects in one page of a list: a page is decoded whole, so it is a bound on memory."""
_EXPIRED = 410
_OWN = 4096
_NEWS = (b'{"type":"ADDED"', b'{"type":"MODIFIED"')
_VERSION = b'"resourceVersion":"'
_HEAD = 1000
"""Kind, name, namespace and uid are not longer than this."""


class Fence(Protocol):
    """Who says how long this process may write."""

    def remaining(self) -> float:
        """Return the seconds for which nobody else can be the leader; 0 or less where that is not sure."""


class Cluster:
    """One Kubernetes cluster."""

    def __init__(
        self, connection: Connection, learn: Callable[[Manifest], object], fence: Fence, watch_idle: float
    ) -> None:
        """Use a connection; `learn` takes in every object that a write returns; `fence` bounds every write."""
        self._connection = connection
        self._learn = learn
        self._fence = fence
        self._watch_idle = watch_idle
        self._own: OrderedDict[str, None] = OrderedDict()
        """Versions that applies of this process made, and whose events have yet to come."""
        self._random = random.Random()  # noqa: S311 - spreads reconnections

    async def apply(self, key: Key, action: Apply) -> None:
        """Server-side apply one child; create it, if it is of a kind that is never changed.

        Raises:
            Conflict: it is to be created, but somebody else's object holds the name.
            ClusterError: see its kinds.
        """
        manifest = action.manifest
        if action.create and manifest["kind"] in CREATED_KINDS:
            body = await self._create_once(key, manifest, action.manager)
        elif action.create:
            body = await self._apply_new(key, manifest, action.manager)
        else:
            body = await self._apply(key, manifest, action.manager, force=True)
        version = body["metadata"]["resourceVersion"]
        self._learn(body)
        self._own[version] = None
        if len(self._own) > _OWN:
            self._own.popitem(last=False)

    async def _apply(self, key: Key, manifest: Manifest, manager: str, *, force: bool) -> Manifest:
        query = {"fieldManager": manager, "force": "true" if force else "false"}
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        return await self._write("apply", "PATCH", kind, key.namespace, name, query=query, body=manifest)

    async def _apply_new(self, key: Key, manifest: Manifest, manager: str) -> Manifest:
        """Apply a child that is not there as far as is known, but never to an object of somebody else.

        An apply without force is not enough: an object whose fields happen not to conflict (a Service without a selector)
        would be taken over. What this manager applied before is taken up again: the answer to an earlier request was lost,
        or somebody took the labels off.

        Raises:
            Conflict: somebody else's object has the name.
            ClusterError: see its kinds.
        """
        new = {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": taken.NEVER}}
        try:
            return await self._apply(key, new, manager, force=False)
        except Conflict:
            holders = await self._holders(key, manifest)
        if not holders:
            raise TryLater(f"{manifest['kind']} {manifest['metadata']['name']} went away a moment ago")
        if not any(taken.is_applied(body, manager) for body in holders):
            raise Conflict(taken.FOREIGN)
        return await self._apply(key, manifest, manager, force=False)

    async def _create_once(self, key: Key, manifest: Manifest, manager: str) -> Manifest:
        """Create an object that is never changed, or find that it is there already, just so.

        It can be: the answer to an earlier request was lost, or another process sent it a moment ago.

        Raises:
            Conflict: an object of that name is there, and it is another one.
            ClusterError: see its kinds.
        """
        kind = manifest["kind"]
        try:
            return await self._write(
                "create", "POST", kind, key.namespace, query={"fieldManager": manager}, body=manifest
            )
        except Conflict:
            for body in await self._holders(key, manifest, labelSelector=names.MANAGED_SELECTOR):
                if taken.is_copy(body, manifest):
                    return {**body, "kind": kind, "apiVersion": resource(kind).api_version}
            raise

    async def _holders(self, key: Key, manifest: Manifest, **selector: str) -> list[Manifest]:
        """Return what has the name of a child. Listed, not read: the right to list is there already."""
        found = resource(manifest["kind"])
        query = {**selector, "fieldSelector": f"metadata.name={manifest['metadata']['name']}"}
        listed = await self._read(Request("list", found.plural, "GET", found.path(key.namespace), query))
        return list(listed.get("items") or ())

    async def delete(self, key: Key, action: Delete) -> bool:
        """Delete one child if it still has that uid; return whether it is gone already (no finalizer holds it).

        Raises:
            Conflict: an object with another uid holds the name.
            ClusterError: see its kinds.
        """
        body = {"preconditions": {"uid": action.uid}, "propagationPolicy": "Background"}
        answer = await self._write("delete", "DELETE", action.ref.kind, key.namespace, action.ref.name, body=body)
        return "deletionTimestamp" not in answer.get("metadata", {})

    async def apply_status(self, key: Key, uid: str, status: Manifest) -> Manifest:
        """Server-side apply the whole status of a ModelDeployment; return the status as the server keeps it.

        Raises:
            Gone: there is no such ModelDeployment, or another one has its name.
            ClusterError: see its kinds.
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
        except Conflict as error:
            if "uid" in str(error).lower():
                raise Gone(str(error)) from error
            raise TryLater(str(error)) from error  # the server's own retries lost against other writers
        kept: Manifest = body.get("status") or {}
        self._learn(body)
        return kept

    async def get(self, kind: str, namespace: str, name: str, seconds: float | None = None) -> Manifest:
        """Return one object; raise Gone if there is none. `seconds` makes it urgent, as in `replace`."""
        path = resource(kind).path(namespace, name)
        return await self._read(_bounded(Request("get", resource(kind).plural, "GET", path), seconds))

    async def create(self, kind: str, namespace: str, body: Manifest, seconds: float | None = None) -> Manifest:
        """Create one object; raise Conflict if the name is taken. `seconds` makes it urgent and unfenced, as in `replace`."""
        if seconds is None:
            return await self._write("create", "POST", kind, namespace, body=body)
        found = resource(kind)
        return await self._read(
            _bounded(Request("create", found.plural, "POST", found.path(namespace), body=body), seconds)
        )

    async def replace(self, kind: str, namespace: str, name: str, body: Manifest, seconds: float) -> Manifest:
        """Replace one object by a body with its resourceVersion, within so many seconds, ahead of other requests.

        Not fenced: it is how the fence is renewed. Raise Conflict if it has changed since.
        """
        found = resource(kind)
        path = found.path(namespace, name)
        return await self._read(_bounded(Request("update", found.plural, "PUT", path, body=body), seconds))

    async def merge(self, kind: str, namespace: str, name: str, patch: Manifest) -> Manifest:
        """Merge-patch one object."""
        return await self._write("patch", "PATCH", kind, namespace, name, body=patch, content_type=_MERGE)

    async def list_pages(
        self, kind: str, namespace: str | None, selector: str = "", limit: int = _PAGE
    ) -> AsyncIterator[tuple[list[Manifest], str]]:
        """Yield the objects of one kind, a page at a time, each with the resourceVersion of the list.

        Raises:
            Expired: the list took so long that its continuation is void; begin again.
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
        """Yield event type and object from one watch connection, until the server ends it or nothing more is heard.

        The event of a version that an apply of this process has learned already comes as a BOOKMARK of that version:
        it is no news, and not worth decoding.

        Raises:
            Expired: list again.
            ClusterError: the watch could not be had, or the server reported an error in it.
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
        async for line in self._connection.stream(request, self._watch_idle):
            if (known := self._known(line)) is not None:
                yield "BOOKMARK", {"metadata": {"resourceVersion": known}}
                continue
            try:
                event = json.loads(line)
                happened, body = event["type"], event["object"]
                if happened != "ERROR":
                    body["metadata"]["resourceVersion"]  # every reader counts on it
            except (ValueError, KeyError, TypeError) as error:
                raise TryLater(f"watch {found.plural}: not an event: {line[:200]!r}") from error
            if happened == "ERROR":
                if body.get("code") == _EXPIRED:
                    raise Expired(str(body.get("message")))
                raise TryLater(f"watch {found.plural}: {body.get('message') or body}")
            yield happened, body

    def _known(self, line: bytes) -> str | None:
        """Return the version in an event that was learned from an apply's answer, or None.

        The API server writes `resourceVersion` before anything in the metadata that a user may fill with text.
        """
        if not self._own or not line.startswith(_NEWS):
            return None
        begin = line.find(_VERSION, 0, _HEAD)
        if begin < 0:
            return None
        begin += len(_VERSION)
        version = line[begin : line.find(b'"', begin)].decode()
        if version not in self._own:
            return None
        del self._own[version]
        return version

    async def _read(self, request: Request) -> Manifest:
        """Return an object or a list; TryLater for JSON that is neither, which something on the way has put there."""
        answer = await self._connection.send(request)
        metadata = answer.get("metadata") if isinstance(answer, dict) else None
        if not isinstance(metadata, dict) or "resourceVersion" not in metadata:
            raise TryLater(f"{request.verb} {request.resource}: not an answer of the API server: {str(answer)[:200]}")
        found: Manifest = answer
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
        answer: Manifest = await self._connection.send(request)
        return answer


def _bounded(request: Request, seconds: float | None) -> Request:
    """Return a request that is sent ahead of others and may last so long; as it is where it need not hurry."""
    return request if seconds is None else replace(request, seconds=lambda: seconds, urgent=True)
