"""Waits for a ModelDeployment and says what changed meanwhile: its conditions and its pods, in their own words."""

import time
from collections.abc import Callable
from typing import Any

from dev.errors import DevError
from dev.kit.conditions import condition
from dev.kit.kubectl import Kubectl

Manifest = dict[str, Any]
Facts = dict[str, str]


def ready(resource: Manifest) -> bool:
    """Tell whether the newest spec is served."""
    found = condition(resource, "Ready")
    return bool(found["status"] == "True" and found.get("observedGeneration") == resource["metadata"]["generation"])


def rolled_back(resource: Manifest) -> bool:
    """Tell whether the newest spec has failed and the current revision is served again, by nothing else."""
    back, progressing = condition(resource, "RolledBack"), condition(resource, "Progressing")
    current = back.get("observedGeneration") == resource["metadata"]["generation"]
    return bool(current and back["status"] == "True" and progressing["status"] == "False")


def facts(resource: Manifest) -> Facts:
    """Return what is worth a line when it changes: one entry a pod, and those for the conditions Ready and RolledBack."""
    found = {}
    for pod in resource.get("status", {}).get("pods", []):
        words = f": {pod['message']}" if pod.get("message") else ""
        found[f"pod {pod['name']}"] = f"{pod['state']}{words}"
    state = condition(resource, "Ready")
    if state["reason"]:
        found["ready"] = f"{state['status']}, {state['reason']}: {state['message']}"
    back = condition(resource, "RolledBack")
    if back["status"] == "True":
        found["rolled back"] = f"to revision {resource['status'].get('targetRevision')}, {back['reason']}"
    return found


def changes(before: Facts, after: Facts) -> list[str]:
    """Return a line for each fact that is new, different or gone."""
    lines = [f"{name} {text}" for name, text in after.items() if before.get(name) != text]
    return lines + [f"{name} gone" for name in before if name not in after]


def wait(
    kubectl: Kubectl,
    name: str,
    seconds: float,
    tell: Callable[[str], None],
    holds: Callable[[Manifest], bool] = ready,
) -> Manifest:
    """Watch until something holds, the newest spec being served if nothing else is said, telling each change.

    Returns the resource as it is then.

    Raises:
        DevError: it does not hold within `seconds`, with what the status says.
    """
    started, known = time.monotonic(), Facts()
    with kubectl.watch("modeldeployment", name, seconds) as states:
        for state in states:
            now = facts(state)
            for line in changes(known, now):
                tell(f"{time.monotonic() - started:5.1f} s  {line}")
            known = now
            if holds(state):
                return state
    wanted = holds.__name__.replace("_", " ")
    raise DevError(
        f"{name} is not {wanted} after {seconds:.0f} s: {known.get('ready', 'it has no status; is the operator running?')}\n"
        f"Look at `kubectl -n {kubectl.namespace} get mdep {name} -o yaml` and docs/troubleshooting.md."
    )
