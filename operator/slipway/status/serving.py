"""What server and prober report: whether the model is loaded, answers, and passes the gate."""

import re

from slipway.api import PodState, Reason
from slipway.domain import lenient, names
from slipway.domain.objects import Manifest
from slipway.status.pod_facts import (
    KILLED,
    MESSAGE_LENGTH,
    Facts,
    Finding,
    describe,
    failure,
    oom_killed,
    out_of_memory,
    restarts,
    was_ready,
)

_LOAD_ERROR = re.compile(r"Failed to start server\. Error: (.*)")
_NOT_STARTED = 255
"""Exit code of the server for everything that keeps it from starting."""
_VERDICTS = {"GateFailed": Reason.GATE_FAILED, "GateInvalid": Reason.GATE_INVALID}


def ready(facts: Facts) -> Finding | None:
    """Find a pod that is Ready, whatever happened to it before."""
    return Finding(PodState.READY) if facts.ready.get("status") == "True" else None


def server_failed(facts: Facts) -> Finding | None:
    """Find a server that exited and has not answered since."""
    ended = None if facts.server.get("started") else failure(facts.server, init=False)
    if ended is None:
        return None
    if oom_killed(ended):
        return out_of_memory(names.SERVER_CONTAINER)
    words = lenient.text(ended.get("message"))
    load = _LOAD_ERROR.search(words)
    if load is None and (ended.get("exitCode") != _NOT_STARTED or not words):
        reason = Reason.LOAD_FAILED if ended.get("exitCode") == _NOT_STARTED else Reason.CRASH_LOOP
        return Finding(PodState.FAILED, reason, f"the server {describe(ended)}", failed=True)
    # The kubelet keeps the end of a log: the beginning of a long error may be cut off.
    error = load[1] if load else words[-MESSAGE_LENGTH // 2 :]
    return Finding(PodState.FAILED, Reason.LOAD_FAILED, f"the server could not load the model: {error}", failed=True)


def prober_failed(facts: Facts) -> Finding | None:
    """Find a prober that exited, with a verdict or without one, and after which the pod has not been Ready."""
    ended = None if was_ready(facts, facts.prober) else failure(facts.prober, init=False)
    if ended is None:
        return None
    if oom_killed(ended):
        return out_of_memory(names.PROBER_CONTAINER)
    reported = lenient.json_object(ended.get("message"))
    verdict, words = _VERDICTS.get(lenient.text(reported.get("reason"))), lenient.text(reported.get("message"))
    if verdict is None or not words:
        return _prober_exited(facts.prober, ended)
    return Finding(PodState.FAILED, verdict, words, failed=True, restarts=restarts(facts.prober))


def _prober_exited(prober: Manifest, ended: Manifest) -> Finding:
    # One that was killed was too slow for the kubelet, on a busy node: that says nothing about the model.
    killed = ended.get("exitCode") == KILLED
    return Finding(
        PodState.FAILED,
        Reason.CRASH_LOOP,
        f"the prober {describe(ended)}",
        failed=not killed,
        restarts=restarts(prober),
    )


def unhealthy(facts: Facts) -> Finding | None:
    """Find a pod that has stopped answering; one that has yet to answer for the first time is not unhealthy."""
    if not facts.server.get("started"):
        return None
    if facts.server.get("ready"):
        message = _not_ready(facts)
    else:
        message = "the server has stopped answering its readiness probe" if was_ready(facts, facts.server) else ""
    return Finding(PodState.UNHEALTHY, Reason.UNHEALTHY, message) if message else None


def _not_ready(facts: Facts) -> str:
    """Return why a pod with a ready server is not Ready; empty while its prober has not passed it for the first time."""
    others = ", ".join(name for name, status in facts.containers.items() if not status.get("ready"))
    if others:
        return f"container {others} is not ready"
    if not facts.prober or facts.prober.get("ready"):
        return "the server answers, but its node may be out of reach"
    return "the server has stopped answering the prober's requests" if was_ready(facts, facts.prober) else ""


def starting(facts: Facts) -> Finding:
    """Find a pod without a fault: its server loads the model, or its prober checks the first answers."""
    gating = facts.prober and facts.server.get("started") and facts.server.get("ready")
    return Finding(PodState.GATING if gating else PodState.LOADING)
