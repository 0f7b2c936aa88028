"""Settings of Kopf: it watches one resource, writes nothing and scans nothing else. For the informer of ModelDeployments."""

from collections.abc import Iterator
from typing import Any

import kopf

_BACKOFF_SECONDS = 15.0
"""Longest pause between two attempts of one of Kopf's requests."""


class _NoDiffs(kopf.DiffBaseStorage):
    """Keeps no copy of the last seen body, on the object or elsewhere: `on.event` needs none, and making it costs."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        """Return nothing, whatever the body."""
        return kopf.BodyEssence({})

    def fetch(self, **_: Any) -> None:
        """Return that nothing is kept."""

    def store(self, **_: Any) -> None:
        """Keep nothing."""


class _NoProgress(kopf.ProgressStorage):
    """Keeps no progress of handlers: `on.event` has none."""

    def fetch(self, **_: Any) -> None:
        """Return that nothing is kept."""

    def store(self, **_: Any) -> None:
        """Keep nothing."""

    def purge(self, **_: Any) -> None:
        """Remove nothing."""

    def touch(self, **_: Any) -> None:
        """Touch nothing."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        """Return the argument."""
        return essence


class Backoffs:
    """Pauses between attempts of Kopf's requests: growing, then constant for ever, so that no storm ends the operator."""

    def __iter__(self) -> Iterator[float]:
        """Yield the pauses in seconds."""
        yield from (0.5, 1, 2, 4, 8)
        while True:
            yield _BACKOFF_SECONDS


def kopf_settings(watch_idle: float, request_timeout: float) -> kopf.OperatorSettings:
    """Return Kopf's settings: one resource watched, nothing written, nothing else scanned.

    Args:
        watch_idle: seconds of silence after which the watch is restarted.
        request_timeout: seconds that one request may take.
    """
    chosen = kopf.OperatorSettings()
    chosen.scanning.disabled = True
    chosen.peering.standalone = True
    chosen.posting.enabled = False
    chosen.persistence.diffbase_storage = _NoDiffs()
    chosen.persistence.progress_storage = _NoProgress()
    chosen.watching.server_timeout = 300
    chosen.watching.client_timeout = 330
    chosen.watching.connect_timeout = 10
    chosen.watching.inactivity_timeout = watch_idle
    chosen.watching.chunk_size = 100
    chosen.networking.request_timeout = request_timeout
    chosen.networking.connect_timeout = min(5.0, request_timeout)
    chosen.networking.error_backoffs = Backoffs()
    chosen.queueing.idle_timeout = 1.0
    return chosen
