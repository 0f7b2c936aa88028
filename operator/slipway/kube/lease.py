"""Leader election: a Lease decides which of several operators may write. All of them watch, so a standby is warm.

The rules are those of client-go's leader election: whether another holder is alive is judged by when this process saw the
Lease change, on its own monotonic clock, never by comparing wall clocks; a holder that has not renewed for
`RENEW_DEADLINE` no longer writes, well before others may take over after `LEASE_SECONDS`. `remaining` is the fence: no write
may last longer, so none is in flight when another process takes over.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from slipway.domain.objects import Manifest
from slipway.kube.errors import ApiError, ConflictError, NotFoundError

LEASE_SECONDS = 10.0
"""Others take the Lease after this time without a change."""
RENEW_DEADLINE = 8.0
"""A holder may write until this time after it sent its last successful renewal."""
RENEW_PERIOD = 3.0
RETRY_PERIOD = 2.0
"""How often a standby reads the Lease."""
_KIND = "Lease"
_log = logging.getLogger("slipway.lease")


class Leases(Protocol):
    """The API requests that the election needs; each within so many seconds, ahead of the workers' requests."""

    async def get(self, kind: str, namespace: str, name: str, within: float) -> Manifest:
        """Return the Lease."""

    async def create(self, kind: str, namespace: str, body: Manifest, within: float) -> Manifest:
        """Create it."""

    async def replace(self, kind: str, namespace: str, name: str, body: Manifest, within: float) -> Manifest:
        """Replace it unless another process has."""


class Leadership(Protocol):
    """Whether this process leads."""

    async def run(self) -> None:
        """Acquire and renew leadership until cancelled."""

    async def release(self) -> None:
        """Give leadership up."""

    def remaining(self) -> float:
        """Return the seconds for which this process may still write."""

    def leading(self) -> bool:
        """Return whether this process may write."""

    async def acquired(self) -> None:
        """Wait until this process leads."""


class AlwaysLeading:
    """Leadership without an election."""

    async def run(self) -> None:
        """Wait until cancelled."""
        await asyncio.Event().wait()

    async def release(self) -> None:
        """Do nothing."""

    def remaining(self) -> float:
        """Return infinity."""
        return float("inf")

    def leading(self) -> bool:
        """Return True."""
        return True

    async def acquired(self) -> None:
        """Return at once."""


class LeaderElector:
    """Leadership of one candidate for a Lease."""

    def __init__(  # noqa: PLR0913 - what it connects
        self,
        leases: Leases,
        namespace: str,
        name: str,
        identity: str,
        *,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        on_change: Callable[[bool], None],
    ) -> None:
        """Connect.

        Args:
            leases: the client.
            namespace: of the Lease.
            name: of the Lease.
            identity: of this process in the Lease; unique.
            clock: monotonic seconds.
            now: wall clock in UTC, for the times in the Lease.
            on_change: called with whether this process leads, when that changes.
        """
        self._leases = leases
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._clock = clock
        self._now = now
        self._on_change = on_change
        self._lease: Manifest | None = None
        self._seen_version = ""
        self._seen_at = float("-inf")
        self._valid_until = float("-inf")
        self._leads = asyncio.Event()
        self._random = random.Random()  # noqa: S311 - jitter needs no secrecy

    def remaining(self) -> float:
        """Return the seconds for which this process may still write."""
        return self._valid_until - self._clock()

    def leading(self) -> bool:
        """Return whether this process may write."""
        return self._leads.is_set() and self.remaining() > 0

    async def acquired(self) -> None:
        """Wait until this process leads."""
        await self._leads.wait()

    async def run(self) -> None:
        """Acquire and renew the Lease until cancelled."""
        while True:
            try:
                await self._step()
            except ApiError as error:
                _log.warning("lease %s/%s: %s", self._namespace, self._name, error)
                self._lease = None
            self._publish()
            pause = RENEW_PERIOD if self._leads.is_set() and self._lease is not None else RETRY_PERIOD
            await asyncio.sleep(self._pause(pause * self._random.uniform(0.8, 1.0)))
            self._publish()

    async def release(self) -> None:
        """Release the Lease, so that a standby need not wait; errors are only logged."""
        lease = self._lease if self._leads.is_set() else None
        self._valid_until = float("-inf")
        self._publish()
        if lease is None:
            return
        body = self._body(lease, "")
        body["spec"]["leaseDurationSeconds"] = 1
        try:
            await self._leases.replace(_KIND, self._namespace, self._name, body, within=3.0)
        except ApiError as error:
            _log.warning("lease %s/%s was not released: %s", self._namespace, self._name, error)
        else:
            _log.info("lease %s/%s released", self._namespace, self._name)

    async def _step(self) -> None:
        """Renew the Lease if it is held, else read it and take it if it is free."""
        if self._lease is None or not self._leads.is_set():
            self._lease = None
            try:
                found = await self._leases.get(_KIND, self._namespace, self._name, within=self._timeout())
            except NotFoundError:
                sent = self._clock()
                body = self._body(None, self._identity)
                response = await self._leases.create(_KIND, self._namespace, body, within=self._timeout())
                self._hold(response, sent)
                return
            if not self._mine(found) and not self._free(found):
                return
        else:
            found = self._lease
        sent = self._clock()
        body = self._body(found, self._identity)
        try:
            response = await self._leases.replace(_KIND, self._namespace, self._name, body, within=self._timeout())
        except ConflictError:
            self._lease = None  # another process wrote it: read it again first
            return
        self._hold(response, sent)

    def _hold(self, lease: Manifest, sent: float) -> None:
        self._lease = lease
        self._valid_until = sent + RENEW_DEADLINE

    def _publish(self) -> None:
        leads = self.remaining() > 0
        if leads == self._leads.is_set():
            return
        if leads:
            self._leads.set()
        else:
            self._leads.clear()
            self._lease = None
        _log.info("%s %s the lease %s/%s", self._identity, "holds" if leads else "lost", self._namespace, self._name)
        self._on_change(leads)

    def _pause(self, seconds: float) -> float:
        """Return how long to sleep, at most until the present term ends."""
        return max(0.05, min(seconds, self.remaining())) if self._leads.is_set() else seconds

    def _timeout(self) -> float:
        return max(0.5, self.remaining()) if self._leads.is_set() else RETRY_PERIOD * 2

    def _mine(self, lease: Manifest) -> bool:
        """Return whether the Lease names this process: the response to a renewal was lost."""
        return bool((lease.get("spec") or {}).get("holderIdentity") == self._identity)

    def _free(self, lease: Manifest) -> bool:
        """Return whether the Lease may be taken: it was released, or has not changed within its duration."""
        if not (lease.get("spec") or {}).get("holderIdentity"):
            return True
        version = lease["metadata"]["resourceVersion"]
        if version != self._seen_version:
            self._seen_version, self._seen_at = version, self._clock()
        seconds = float((lease["spec"] or {}).get("leaseDurationSeconds") or LEASE_SECONDS)
        return self._clock() - self._seen_at >= max(seconds, LEASE_SECONDS)

    def _body(self, lease: Manifest | None, holder: str) -> Manifest:
        now = self._now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        old = (lease or {}).get("spec") or {}
        same = old.get("holderIdentity") == holder
        spec = {
            "holderIdentity": holder,
            "leaseDurationSeconds": int(LEASE_SECONDS),
            "acquireTime": old.get("acquireTime", now) if same else now,
            "renewTime": now,
            "leaseTransitions": int(old.get("leaseTransitions") or 0) + (lease is not None and not same),
        }
        metadata = {"name": self._name, "namespace": self._namespace}
        if lease is not None:
            metadata["resourceVersion"] = lease["metadata"]["resourceVersion"]
        return {"apiVersion": "coordination.k8s.io/v1", "kind": _KIND, "metadata": metadata, "spec": spec}
