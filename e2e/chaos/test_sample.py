"""The sample of the chaos runs that every `make e2e` does: the operator's own container killed in mid-promotion and in
mid-rollback, at moments from a seed that is printed.
"""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from dev.kit import gates, traffic, wait
from dev.kit.archive_server import url
from dev.kit.conditions import current
from dev.kit.installation import OPERATOR_NAMESPACE, OPERATOR_SELECTOR
from dev.kit.kubectl import Kubectl, Manifest
from dev.kit.model_deployments import deployment, pods, uids
from dev.kit.tiny_models import HALVES
from e2e.lib import endpoints

TWO, THREE, CORRUPT = (url(f"{name}.tar.gz") for name in ("half_plus_two", "half_plus_three", "corrupt"))
OLD, NEW = (traffic.answer_of(HALVES[name]) for name in ("half_plus_two", "half_plus_three"))
SEED = int(os.environ.get("SLIPWAY_CHAOS_SEED", "20261122"))
_PROGRAM = b"slipway"


def kill_operators(kubectl: Kubectl) -> int:
    """Kill the operator's processes with SIGKILL where they run; return how many there were."""
    found = {item["metadata"]["uid"] for item in kubectl.within(OPERATOR_NAMESPACE).items("pods", OPERATOR_SELECTOR)}
    marks = {form for uid in found for form in (uid, uid.replace("-", "_"))}
    killed = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            groups, words = (folder / "cgroup").read_text(), (folder / "cmdline").read_bytes()
        except OSError:
            continue  # it has ended meanwhile
        if _PROGRAM in words and any(mark in groups for mark in marks):
            os.kill(int(folder.name), signal.SIGKILL)
            killed += 1
    return killed


def deleted_or_killed(kubectl: Kubectl) -> None:
    """End the operator without a word; where its processes are out of reach, by deleting its pods by force."""
    if not kill_operators(kubectl):
        kubectl.within(OPERATOR_NAMESPACE).run(
            "delete", "pods", f"--selector={OPERATOR_SELECTOR}", "--force", "--grace-period=0"
        )


def end(state: Manifest) -> tuple[object, ...]:
    """Return what the end of a phase is about."""
    status = state["status"]
    numbers = status["updateRevision"], status["currentRevision"], status["targetRevision"], status["readyReplicas"]
    conditions = {kind: current(state, kind)["status"] for kind in ("Ready", "Available", "Progressing", "RolledBack")}
    return numbers, conditions, [(entry["revision"], entry["verdict"]) for entry in status["history"]]


@pytest.mark.usefixtures("operator_alone")
@pytest.mark.parametrize("number", range(1))
def test_killed_in_the_middle(namespace: Kubectl, number: int) -> None:
    rng = random.Random(SEED + number)
    moments = rng.uniform(0.0, 5.0), rng.uniform(0.0, 5.0)
    print(f"seed {SEED + number}: killed {moments[0]:.2f} s after the good spec, {moments[1]:.2f} s after the bad one")
    namespace.apply(deployment("struck", TWO, replicas=2))
    wait.ready(namespace, "struck")
    with (
        traffic.crowd(namespace, "struck", clients=3, pause=0.05) as seen,
        endpoints.watched(namespace, "struck") as pods_seen,
    ):
        namespace.apply(deployment("struck", THREE, replicas=2))
        time.sleep(moments[0])
        deleted_or_killed(namespace)
        state = wait.ready(namespace, "struck")
        assert end(state) == (
            (2, 2, 2, 2),
            {"Ready": "True", "Available": "True", "Progressing": "False", "RolledBack": "False"},
            [(2, "Ready"), (1, "Ready")],
        )
        serving = uids(pods(namespace, "struck"))

        namespace.apply(deployment("struck", CORRUPT, replicas=2))
        time.sleep(moments[1])
        deleted_or_killed(namespace)
        state = gates.rolled_back(namespace, "struck", "LoadFailed")
        assert end(state) == (
            (3, 2, 2, 2),
            {"Ready": "False", "Available": "True", "Progressing": "False", "RolledBack": "True"},
            [(3, "Failed"), (2, "Ready"), (1, "Ready")],
        )
        wait.until(namespace, "deployment", "struck", lambda _: uids(pods(namespace, "struck")) == serving)
    assert seen.failures == []
    assert set(seen.answers) <= {OLD, NEW}
    assert 3 not in pods_seen.by_revision
    print(f"{seen.calls} calls, 0 failed")
