"""Memory: what the reconciler remembers of its own requests, so that it neither repeats nor forgets one.

Only to save requests: losing all of it, as at a restart, changes no decision about what should be.
"""

import json
import math
from dataclasses import dataclass
from typing import Any

from slipway.observed import Apply, Delete, Failure, Key, Manifest, Ref
from slipway.store import Store

_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 300.0


@dataclass(slots=True)
class _Refusal:
    """An action that the server refused: it is not sent again before `until`, unless it changes."""

    digest: int
    failure: Failure
    until: float
    pause: float


@dataclass(slots=True)
class _Said:
    """The status sent last, and the server's spelling of it; one that was refused is sent again after `until`."""

    sent: int
    kept: int
    until: float = math.inf


class Memory:
    """What is remembered, by key; all of a key's memory goes with it."""

    def __init__(self) -> None:
        """Remember nothing."""
        self._suspects: set[Key] = set()
        self._met: set[Key] = set()
        self._applied: dict[Key, dict[Ref, tuple[int, int]]] = {}
        self._refusals: dict[Key, dict[Ref, _Refusal]] = {}
        self._said: dict[Key, _Said] = {}
        self._unsaid: dict[Key, float] = {}

    def forget(self, key: Key) -> None:
        """Forget everything about a key."""
        self._suspects.discard(key)
        self._met.discard(key)
        for memory in (self._applied, self._refusals, self._said, self._unsaid):
            memory.pop(key, None)

    def suspect(self, key: Key) -> None:
        """Remember that a child went, perhaps because its owner did."""
        self._suspects.add(key)

    def suspected(self, key: Key) -> bool:
        """Tell whether a child went since the owner was last looked up."""
        return key in self._suspects

    def trust(self, key: Key) -> None:
        """Remember that the owner was looked up."""
        self._suspects.discard(key)
        self._met.add(key)

    def estrange(self) -> None:
        """Remember that another process may have been at work: what was told of owners may be old."""
        self._met.clear()

    def met(self, key: Key) -> bool:
        """Tell whether the API server has told this process itself how the owner is, in answer to a request of it."""
        return key in self._met

    def applied(self, key: Key, ref: Ref, action: Apply, store: Store) -> None:
        """Remember an apply that succeeded, and what came of it; a refusal of it is history."""
        self._refusals.get(key, {}).pop(ref, None)
        self._applied.setdefault(key, {})[ref] = (_digest(action), _asked_for(store, key, ref))

    def settled(self, key: Key, ref: Ref, action: Apply | Delete, store: Store) -> bool:
        """Tell whether this very apply led to this very object: sending it again would change nothing."""
        known = self._applied.get(key, {}).get(ref)
        return (
            known is not None and isinstance(action, Apply) and known == (_digest(action), _asked_for(store, key, ref))
        )

    def refuse(self, key: Key, action: Apply | Delete, failure: Failure, now: float) -> float:
        """Remember a refusal; return the seconds until the action may be sent again."""
        refusals = self._refusals.setdefault(key, {})
        old = refusals.get(failure.ref)
        digest = _digest(action)
        again = old is not None and old.digest == digest
        pause = min(_LONGEST_PAUSE, old.pause * 2) if old is not None and again else _FIRST_PAUSE
        refusals[failure.ref] = _Refusal(digest, failure, now + pause, pause)
        return pause

    def refusal(self, key: Key, action: Apply | Delete, now: float) -> tuple[Failure, float] | None:
        """Return the failure of this very action and the seconds until it may be sent again, or None if it may now."""
        refusals = self._refusals.get(key)
        if not refusals:
            return None
        known = refusals.get(action.ref)
        if known is None or known.until <= now or known.digest != _digest(action):
            return None
        return known.failure, known.until - now

    def say(self, key: Key, sent: Manifest, kept: Manifest) -> None:
        """Remember a status that was written and how the server keeps it."""
        self._said[key] = _Said(_hash(sent), _hash(kept))
        self._unsaid.pop(key, None)
        self._met.add(key)

    def keep_quiet(self, key: Key, refused: Manifest, old: Manifest, now: float) -> float:
        """Remember a status that the server refused; return the seconds until it is sent again though nothing changes."""
        self._said[key] = _Said(_hash(refused), _hash(old), now + _LONGEST_PAUSE)
        self._unsaid.pop(key, None)
        return _LONGEST_PAUSE

    def said(self, key: Key, new: Manifest, old: Manifest, now: float) -> float:
        """Return for how many seconds a status need not be sent: it was sent last, and the old one is the server's spelling.

        Infinite for one that was accepted; 0 or less for one that is to be sent.
        """
        known = self._said.get(key)
        if known is None or known.sent != _hash(new) or known.kept != _hash(old):
            return 0.0
        return known.until - now

    def unsaid_since(self, key: Key, now: float) -> float:
        """Return since when there is something to say about the key."""
        return self._unsaid.setdefault(key, now)

    def nothing_to_say(self, key: Key) -> None:
        """Remember that the status is true."""
        self._unsaid.pop(key, None)


def _hash(value: Any) -> int:
    return hash(json.dumps(value, sort_keys=True))


def _hash_rendered(manifest: Manifest) -> int:
    """Return a digest of what a renderer made: it orders its keys always alike, so that sorting would be waste."""
    return hash(repr(manifest))


def _digest(action: Apply | Delete) -> int:
    if isinstance(action, Delete):
        return hash(action.uid)
    return hash((action.manager, action.create, _hash_rendered(action.manifest)))


def _asked_for(store: Store, key: Key, ref: Ref) -> int:
    """Return a digest of an object without what changes by itself; 0 where it is not known."""
    if ref.kind != "Deployment":
        return store.digest(key, ref)  # these are kept without their status
    body = store.child(key, ref)
    if body is None:
        return 0
    metadata = {
        name: value for name, value in body["metadata"].items() if name not in {"resourceVersion", "generation"}
    }
    return hash(repr((metadata, body.get("spec"))))
