"""A small client for an API server that the tooling itself started: JSON over HTTPS with a client certificate.

Only the standard library, so that a cluster can be started before anything else is installed.
"""

import http.client
import json
import ssl
import urllib.parse
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from dev.cluster.kubeconfig import Access
from dev.errors import DevError

Object = dict[str, Any]


class ApiError(DevError):
    """The API server refused a request; `status` is the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """One client; it opens a connection per request and may be used from several threads."""

    def __init__(self, access: Access, *, timeout: float = 10) -> None:
        parts = urllib.parse.urlsplit(access.server)
        self._host, self._port, self._timeout = parts.hostname or "", parts.port or 443, timeout
        self._tls = ssl.create_default_context(cafile=str(access.authority))
        self._tls.load_cert_chain(access.client.cert, access.client.key)

    def get(self, path: str) -> Object:
        """Reads one object or list."""
        return self._json("GET", path)

    def exists(self, path: str) -> bool:
        """True when a GET of `path` succeeds, False when the server says 404."""
        try:
            self._json("GET", path)
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            return False
        return True

    def create(self, path: str, body: Object) -> bool:
        """Creates an object in the collection `path`; False when one of that name exists already."""
        try:
            self._json("POST", path, body)
        except ApiError as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
            return False
        return True

    def apply(self, path: str, body: Object) -> Object:
        """Server-side apply of one object at `path`, taking fields over from others."""
        query = "fieldManager=slipway-cluster&force=true"
        return self._json("PATCH", f"{path}?{query}", body, "application/apply-patch+yaml")

    def patch(self, path: str, body: Object) -> Object:
        """Merge patch of one object."""
        return self._json("PATCH", path, body, "application/merge-patch+json")

    def delete(self, path: str) -> bool:
        """Deletes an object; False when it is gone already."""
        try:
            self._json("DELETE", path)
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            return False
        return True

    def healthy(self, path: str) -> bool:
        """True when the server answers `path` with 200; False also when it cannot be reached."""
        try:
            status, _ = self._send("GET", path)
        except OSError:
            return False
        return status == HTTPStatus.OK

    def watch(self, path: str, resource_version: str, *, seconds: int = 300) -> Iterator[Object]:
        """Yields the events of a collection from `resource_version` on, until the server ends the watch."""
        query = f"watch=true&resourceVersion={resource_version}&timeoutSeconds={seconds}&allowWatchBookmarks=true"
        connection = http.client.HTTPSConnection(self._host, self._port, timeout=seconds + 30, context=self._tls)
        try:
            connection.request("GET", f"{path}?{query}", headers={"Accept": "application/json"})
            response = connection.getresponse()
            if response.status != HTTPStatus.OK:
                raise ApiError(response.status, f"watching {path}: {response.status} {response.reason}")
            for line in response:
                yield json.loads(line)
        finally:
            connection.close()

    def _json(self, method: str, path: str, body: Object | None = None, content: str = "application/json") -> Object:
        try:
            status, text = self._send(method, path, body, content)
        except OSError as error:
            raise ApiError(0, f"{method} {path}: the API server cannot be reached ({error})") from error
        if status >= HTTPStatus.MULTIPLE_CHOICES:
            try:
                said = json.loads(text).get("message", "")
            except ValueError:
                said = text[:200]
            raise ApiError(status, f"{method} {path}: {status} {said}")
        answer = json.loads(text)
        if not isinstance(answer, dict):
            raise ApiError(status, f"{method} {path}: not a JSON object")
        return answer

    def _send(
        self, method: str, path: str, body: Object | None = None, content: str = "application/json"
    ) -> tuple[int, str]:
        connection = http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout, context=self._tls)
        try:
            data = None if body is None else json.dumps(body)
            headers = {"Accept": "application/json"} | ({"Content-Type": content} if data else {})
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            return response.status, response.read().decode(errors="replace")
        except http.client.HTTPException as error:
            raise OSError(f"broken answer: {error!r}") from error
        finally:
            connection.close()
