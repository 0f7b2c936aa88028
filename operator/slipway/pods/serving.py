"""What server and pilot say: is the model loaded, does it answer, does it answer rightly?"""

import re

from slipway import loose
from slipway.api import PodState, Reason
from slipway.observed import Manifest
from slipway.pods.facts import (
    KILLED,
    MESSAGE_LENGTH,
    Facts,
    Finding,
    been_ready,
    failure,
    how,
    out_of_memory,
    restarts,
    short_of_memory,
)

_LOAD_ERROR = re.compile(r"Failed to start server\. Error: (.*)")
_NOT_STARTED = 255
"""Exit code of the server for whatever keeps it from starting."""
_VERDICTS = {"GateFailed": Reason.GATE_FAILED, "GateInvalid": Reason.GATE_INVALID}


def ready(facts: Facts) -> Finding | None:
    """Find a pod that serves, whatever happened to it before."""
    return Finding(PodState.READY) if facts.ready.get("status") == "True" else None


def server_failed(facts: Facts) -> Finding | None:
    """Find a server that ended and has not answered since."""
    ended = None if facts.server.get("started") else failure(facts.server, may_end=False)
    if ended is None:
        return None
    if short_of_memory(ended):
        return out_of_memory("loading or serving the model")
    words = loose.text(ended.get("message"))
    load = _LOAD_ERROR.search(words)
    if load is None and (ended.get("exitCode") != _NOT_STARTED or not words):
        reason = Reason.LOAD_FAILED if ended.get("exitCode") == _NOT_STARTED else Reason.CRASH_LOOP
        return Finding(PodState.FAILED, reason, f"the server {how(ended)}", failed=True)
    # The kubelet keeps the end of a log: the beginning of a long error may be cut off.
    said = load[1] if load else words[-MESSAGE_LENGTH // 2 :]
    return Finding(PodState.FAILED, Reason.LOAD_FAILED, f"the server could not load the model: {said}", failed=True)


def pilot_failed(facts: Facts) -> Finding | None:
    """Find a pilot that gave its verdict, or ended without one, and has not let the pod become ready since."""
    ended = None if been_ready(facts, facts.pilot) else failure(facts.pilot, may_end=False)
    if ended is None:
        return None
    if short_of_memory(ended):
        return out_of_memory("checking the golden set")
    said = loose.json_object(ended.get("message"))
    verdict, words = _VERDICTS.get(loose.text(said.get("reason"))), loose.text(said.get("message"))
    if verdict is None or not words:
        return _pilot_ended(facts.pilot, ended)
    return Finding(PodState.FAILED, verdict, words, failed=True, restarts=restarts(facts.pilot))


def _pilot_ended(pilot: Manifest, ended: Manifest) -> Finding:
    # One that was killed was too slow for the kubelet, on a node that is too busy: that says nothing of the model.
    killed = ended.get("exitCode") == KILLED
    return Finding(
        PodState.FAILED, Reason.CRASH_LOOP, f"the pilot {how(ended)}", failed=not killed, restarts=restarts(pilot)
    )


def unhealthy(facts: Facts) -> Finding | None:
    """Tell a pod that has stopped answering from one that has yet to answer for the first time."""
    if not facts.server.get("started"):
        return None
    if facts.server.get("ready"):
        said = _not_ready(facts)
    else:
        said = "the server has stopped answering its readiness probe" if been_ready(facts, facts.server) else ""
    return Finding(PodState.UNHEALTHY, Reason.UNHEALTHY, said) if said else None


def _not_ready(facts: Facts) -> str:
    """Say why a pod whose server is ready is not; nothing while its pilot has yet to say yes for the first time."""
    others = ", ".join(name for name, status in facts.containers.items() if not status.get("ready"))
    if others:
        return f"container {others} is not ready"
    if not facts.pilot or facts.pilot.get("ready"):
        return "the server answers, but its node may be out of reach"
    return "the server has stopped answering the pilot's requests" if been_ready(facts, facts.pilot) else ""


def on_its_way(facts: Facts) -> Finding:
    """Find a pod in which nothing is wrong: its server loads the model, or its pilot looks at the first answers."""
    gating = facts.pilot and facts.server.get("started") and facts.server.get("ready")
    return Finding(PodState.GATING if gating else PodState.LOADING)
