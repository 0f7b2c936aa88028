"""Waiting for the cluster by watching it: a deadline, a condition, and a message that says what was there instead.

The deadlines are those of a slow machine on which others take the operator away meanwhile; nothing waits longer than it has to.
"""

import json
from collections.abc import Callable

from dev.kit.conditions import current
from dev.kit.installation import OPERATOR_NAMESPACE, OPERATOR_SELECTOR
from dev.kit.kubectl import Kubectl, KubectlError, Manifest
from dev.kit.model_deployments import KIND, pods, uids

Predicate = Callable[[Manifest], bool]


def until(kubectl: Kubectl, kind: str, name: str, holds: Predicate, seconds: float = 180) -> Manifest:
    """Return the object as soon as `holds` is true of it; fail with its last state after `seconds`.

    An object that no controller has seen yet is given an empty status, so that `holds` need not think of it.
    """
    last: Manifest = {}
    with kubectl.watch(kind, name, seconds) as states:
        for state in states:
            state.setdefault("status", {})
            last = state
            if holds(state):
                return state
    raise AssertionError(
        f"{kind} {name}: not what was waited for within {seconds:.0f} s\n"
        f"status: {json.dumps(last.get('status', {}), indent=1)}\n{scene(kubectl)}"
    )


def ready(kubectl: Kubectl, name: str, seconds: float = 240) -> Manifest:
    """Wait until a ModelDeployment serves its newest spec."""
    return until(kubectl, KIND, name, lambda state: current(state, "Ready")["status"] == "True", seconds)


def refused(kubectl: Kubectl, name: str, reason: str, words: str = "", seconds: float = 180) -> Manifest:
    """Wait until Ready is False for a reason, with words in its message (case does not count)."""

    def holds(state: Manifest) -> bool:
        found = current(state, "Ready")
        right = found["status"] == "False" and found["reason"] == reason
        return right and words.lower() in found["message"].lower()

    return until(kubectl, KIND, name, holds, seconds)


def replaced(kubectl: Kubectl, name: str, before: set[str], seconds: float = 180) -> None:
    """Wait until a Deployment has pods that are ready, and none of them was there before."""

    def holds(_: Manifest) -> bool:
        found = pods(kubectl, name)
        states = [entry for pod in found for entry in pod["status"].get("conditions", []) if entry["type"] == "Ready"]
        return bool(states) and all(entry["status"] == "True" for entry in states) and not uids(found) & before

    until(kubectl, "deployment", name, holds, seconds)


def gone(kubectl: Kubectl, kind: str, name: str, seconds: float = 180) -> None:
    """Wait until an object does not exist."""
    kubectl.run("wait", "--for=delete", f"{kind}/{name}", f"--timeout={seconds:.0f}s", timeout=seconds + 10)


def scene(kubectl: Kubectl) -> str:
    """Return what an engineer would look at: objects and last events of the namespace, and what the operator said last."""
    system = kubectl.within(OPERATOR_NAMESPACE)
    looks = (
        (kubectl, ["get", "mdep,deployments,pods", "-o=wide"]),
        (kubectl, ["get", "events", "--sort-by=.lastTimestamp"]),
        (system, ["logs", f"--selector={OPERATOR_SELECTOR}", "--prefix", "--tail=25"]),
    )
    parts = []
    for where, arguments in looks:
        try:
            parts.append("\n".join(where.run(*arguments).stdout.splitlines()[-25:]))
        except KubectlError as error:
            parts.append(str(error))
    return "\n".join(parts)
