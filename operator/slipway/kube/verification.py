"""Verification: which ModelDeployments this process has read from the API server itself, and which it must read again.

The cache may be behind. Before children are created again, and before a Deployment is changed for the first time, the
ModelDeployment itself is read: it may be gone, or its status may contain what another process wrote last. Losing all of this,
as at a restart, costs requests and changes no decision.
"""

from slipway.domain.objects import Key


class Verification:
    """Per ModelDeployment: read by this process, and a child lost since."""

    def __init__(self) -> None:
        """Start with nothing verified."""
        self._verified: set[Key] = set()
        self._stale: set[Key] = set()

    def mark_verified(self, key: Key) -> None:
        """Note that the API server has returned the ModelDeployment to a read of this process."""
        self._stale.discard(key)
        self._verified.add(key)

    def mark_written(self, key: Key) -> None:
        """Note that the API server has returned the ModelDeployment to a write of its status."""
        self._verified.add(key)

    def mark_stale(self, key: Key) -> None:
        """Note that a child was deleted, perhaps because its owner was."""
        self._stale.add(key)

    def invalidate(self) -> None:
        """Note that another process may have been at work: what was read before may be old."""
        self._verified.clear()

    def forget(self, key: Key) -> None:
        """Forget a ModelDeployment."""
        self._stale.discard(key)
        self._verified.discard(key)

    def is_verified(self, key: Key) -> bool:
        """Return whether the API server has returned the ModelDeployment since this process leads."""
        return key in self._verified

    def is_stale(self, key: Key) -> bool:
        """Return whether a child was deleted since the ModelDeployment was last read."""
        return key in self._stale
