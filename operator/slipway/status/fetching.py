"""What fetch reports in its termination message: what it found, or why there is nothing to serve."""

from slipway.api import PodState, Reason
from slipway.domain import lenient, names
from slipway.domain.objects import Manifest
from slipway.status.pod_facts import Facts, Finding, describe, exit_code, failure, oom_killed, out_of_memory, restarts

_TEMPORARY = frozenset({"SourceUnreachable", "GoldenUnreachable", "NoSpace", "InternalError"})
"""Reasons of fetch that waiting may cure."""
_GOLDEN = "Golden"
"""Prefix of the reasons that concern the golden set."""
_OURS = frozenset({names.FETCH_CONTAINER, names.PROBER_CONTAINER})


def failed(facts: Facts) -> Finding | None:
    """Find a model, or a golden set, that could not be fetched."""
    ended = failure(facts.fetch, init=True)
    if ended is None:
        return None
    if oom_killed(ended):
        return out_of_memory(names.FETCH_CONTAINER)
    reported = lenient.json_object(ended.get("message"))
    reason, words = lenient.text(reported.get("reason")), lenient.text(reported.get("message"))
    if not words:
        words = lenient.text(ended.get("message")) or f"fetch exited with code {ended.get('exitCode')}"
    message = f"{reason}: {words}" if reason else words
    kind = Reason.GATE_INVALID if reason.startswith(_GOLDEN) else Reason.FETCH_FAILED
    return Finding(PodState.FAILED, kind, message, failed=reason not in _TEMPORARY)


def others_failed(facts: Facts) -> Finding | None:
    """Find an injected init container that failed."""
    for name, status in facts.init.items():
        ended = failure(status, init=True)
        if name not in _OURS and ended is not None:
            message = f"init container {name} {describe(ended)}"
            return Finding(PodState.FAILED, Reason.CRASH_LOOP, message, failed=True, restarts=restarts(status))
    return None


def in_progress(facts: Facts) -> Finding | None:
    """Find a pod that has no model yet."""
    if "running" in lenient.mapping(facts.fetch.get("state")):
        return Finding(PodState.FETCHING)
    return None if exit_code(facts.fetch) == 0 else Finding(PodState.PENDING)


def reported(status: Manifest) -> Manifest:
    """Return what fetch reported on success: version, digest and more."""
    ended = lenient.mapping(lenient.mapping(status.get("state")).get("terminated"))
    return lenient.json_object(ended.get("message")) if ended.get("exitCode") == 0 else {}
