"""Scope: a namespace that is watched, or all of them. What happens to one never affects another.

A namespace of the list may be gone, and its Role with it; or the operator may have no rights there, or not all of them. Then
the API server refuses its lists and watches: the scope is lost, which is reported, until all of them are answered again.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from slipway.domain.objects import Key
from slipway.kube.errors import ApiError, NotFoundError, RejectedError

LOST_SECONDS = 10.0
"""A kind that was listed before must be refused for so long: an API server that has just started refuses what it grants."""
_HINT = (
    ". Does it exist, and are the operator's Role and RoleBinding in it? Other namespaces are not affected;"
    " this one is tried again, and watched as soon as it can be"
)
_log = logging.getLogger("slipway.scope")


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why a kind cannot be listed or watched, and since when it is refused (None: the request may succeed later)."""

    error: str
    refused_since: float | None


class Scope:
    """One namespace, or all of them, with the kinds that informers watch there."""

    def __init__(self, namespace: str | None, kinds: Iterable[str], *, clock: Callable[[], float]) -> None:
        """Start with nothing listed; `namespace` is None for all of them, `clock` returns monotonic seconds."""
        self.namespace = namespace
        self.on_change: Callable[[Scope], None] = lambda _: None
        """Called when the scope becomes usable, and when it is lost."""
        self._clock = clock
        self._unlisted = set(kinds)
        self._failures: dict[str, _Failure] = {}
        self._usable = False
        self._lost = ""

    def __str__(self) -> str:
        """Return what a sentence calls it."""
        return "all namespaces" if self.namespace is None else f"namespace {self.namespace}"

    def __contains__(self, key: Key) -> bool:
        """Return whether a ModelDeployment is in it."""
        return self.namespace in {None, key.namespace}

    def listed(self, kind: str) -> None:
        """Note that all objects of a kind are in the cache."""
        if kind in self._unlisted:
            self._unlisted.discard(kind)
            self._revise()

    def watched(self, kind: str) -> None:
        """Note that the API server has accepted a watch of a kind, which it does after a list only."""
        if kind in self._failures:
            del self._failures[kind]
            self._revise()

    def failed(self, kind: str, error: ApiError) -> None:
        """Note that a list or a watch of a kind failed."""
        since = None
        if isinstance(error, (RejectedError, NotFoundError)):
            known = self._failures.get(kind)
            since = self._clock() if known is None or known.refused_since is None else known.refused_since
        self._failures[kind] = _Failure(str(error), since)
        self._revise()

    def usable(self) -> bool:
        """Return whether decisions may use what the cache has of it."""
        return self._usable

    def lost(self) -> str:
        """Return why the API server refuses that it is watched; empty if it does not."""
        return self._lost

    def failing(self) -> str:
        """Return the error of a kind that can at present not be listed or watched; empty if there is none."""
        return next((failure.error for failure in self._failures.values()), "")

    def unready(self) -> str:
        """Return why it is not usable; empty if it is."""
        if self._usable:
            return ""
        if self._lost:
            return f"{self} cannot be watched: {self._lost}"
        return f"the first list of {', '.join(sorted(self._unlisted))} in {self} is not complete"

    def _revise(self) -> None:
        refused = [failure.error for kind, failure in self._failures.items() if self._is_refused(kind, failure)]
        before, self._lost = self._lost, refused[0] if refused else ""
        usable = not self._unlisted and not refused
        if refused and not before:
            _log.warning("%s cannot be watched: %s%s", self, self._lost, "" if self.namespace is None else _HINT)
        elif usable and before:
            _log.info("%s is watched again", self)
        if bool(refused) != bool(before) or usable != self._usable:
            self._usable = usable
            self.on_change(self)

    def _is_refused(self, kind: str, failure: _Failure) -> bool:
        since = failure.refused_since
        return since is not None and (kind in self._unlisted or self._clock() - since >= LOST_SECONDS)
