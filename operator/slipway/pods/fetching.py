"""What fetch says, by its termination message: what it found, or why there is nothing to serve."""

from slipway import loose, names
from slipway.api import PodState, Reason
from slipway.observed import Manifest
from slipway.pods.facts import Facts, Finding, exit_code, failure, how, out_of_memory, restarts, short_of_memory

_PASSING = frozenset({"SourceUnreachable", "GoldenUnreachable", "NoSpace", "InternalError"})
"""Reasons of fetch that waiting may cure."""
_GOLDEN = "Golden"
"""How those begin that are of the golden set."""
_OURS = frozenset({names.FETCH_CONTAINER, names.PILOT_CONTAINER})


def failed(facts: Facts) -> Finding | None:
    """Find a model, or a golden set, that could not be had."""
    ended = failure(facts.fetch, may_end=True)
    if ended is None:
        return None
    if short_of_memory(ended):
        return out_of_memory("fetching the model")
    said = loose.json_object(ended.get("message"))
    reason, words = loose.text(said.get("reason")), loose.text(said.get("message"))
    if not words:
        words = loose.text(ended.get("message")) or f"fetch ended with exit code {ended.get('exitCode')}"
    message = f"{reason}: {words}" if reason else words
    kind = Reason.GATE_INVALID if reason.startswith(_GOLDEN) else Reason.FETCH_FAILED
    return Finding(PodState.FAILED, kind, message, failed=reason not in _PASSING)


def others_failed(facts: Facts) -> Finding | None:
    """Find an init container that somebody else put into the pod, and that failed."""
    for name, status in facts.init.items():
        ended = failure(status, may_end=True)
        if name not in _OURS and ended is not None:
            said = f"init container {name} {how(ended)}"
            return Finding(PodState.FAILED, Reason.CRASH_LOOP, said, failed=True, restarts=restarts(status))
    return None


def going_on(facts: Facts) -> Finding | None:
    """Find a pod that has no model yet."""
    if "running" in loose.mapping(facts.fetch.get("state")):
        return Finding(PodState.FETCHING)
    return None if exit_code(facts.fetch) == 0 else Finding(PodState.PENDING)


def found(status: Manifest) -> Manifest:
    """Return what fetch reported when it had succeeded: version, digest and more."""
    ended = loose.mapping(loose.mapping(status.get("state")).get("terminated"))
    return loose.json_object(ended.get("message")) if ended.get("exitCode") == 0 else {}
