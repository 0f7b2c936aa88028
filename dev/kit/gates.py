"""Golden sets and gates as the tests write them, and waiting for what becomes of a revision."""

import base64
import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from dev.kit import wait
from dev.kit.conditions import current
from dev.kit.kubectl import Kubectl, Manifest
from dev.kit.model_deployments import KIND
from dev.kit.wait import Predicate

GOLDEN_X = np.array([-2.0, 0.0, 1.0, 4.0], np.float32)


def npz(arrays: Mapping[str, Any]) -> bytes:
    """Return an npz file."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def half_plus(offset: float) -> dict[str, Any]:
    """Return the golden set of y = x / 2 + offset: input `x`, expected output `y`."""
    return {"inputs/x": GOLDEN_X, "outputs/y": GOLDEN_X / 2 + np.float32(offset)}


def config_map(name: str, **files: bytes) -> Manifest:
    """Return a ConfigMap of files; `__` in a name stands for a dot."""
    data = {key.replace("__", "."): base64.b64encode(content).decode() for key, content in files.items()}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "binaryData": data}


def gated(golden: Mapping[str, Any], metrics: Mapping[str, str] | None = None, **more: Any) -> dict[str, Any]:
    """Return `spec.rollout` with a gate; keyword arguments are further fields of the gate."""
    return {"gate": {"golden": dict(golden)} | ({"metrics": dict(metrics)} if metrics else {}) | more}


def rolled_back(kubectl: Kubectl, name: str, reason: str, words: str = "", seconds: float = 240) -> Manifest:
    """Wait until the newest spec failed for a reason and the current revision alone is there again, all of it."""

    def holds(state: Manifest) -> bool:
        back, is_ready = current(state, "RolledBack"), current(state, "Ready")
        said = is_ready["message"].lower()
        return (
            (back["status"], back["reason"]) == ("True", reason)
            and (is_ready["status"], is_ready["reason"]) == ("False", reason)
            and words.lower() in said
            and current(state, "Progressing")["status"] == "False"
        )

    return wait.until(kubectl, KIND, name, holds, seconds)


def verdicts(state: Manifest) -> dict[int, tuple[str, str]]:
    """Return verdict and reason of each revision that the status remembers."""
    return {entry["revision"]: (entry["verdict"], entry.get("reason", "")) for entry in state["status"]["history"]}


def condition_is(kind: str, status: str, reason: str) -> Predicate:
    """Return a predicate for `wait.until`: a condition of the newest generation says this."""

    def holds(state: Manifest) -> bool:
        found = current(state, kind)
        return (found["status"], found["reason"]) == (status, reason)

    return holds
