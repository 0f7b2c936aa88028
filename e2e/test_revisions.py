"""What a revision keeps: its bytes, its number, its record. Pinned, pruned, and true although the source changed."""

import io
import tarfile
from functools import partial
from pathlib import Path
from typing import Any

from dev.kit import archive_server, traffic, wait
from dev.kit.archive_server import url
from dev.kit.conditions import current
from dev.kit.kubectl import Kubectl, Manifest
from dev.kit.model_deployments import KIND, deployment, pods, selector, uids
from dev.kit.tiny_models import HALVES

TWO, THREE = (url(f"{name}.tar.gz") for name in ("half_plus_two", "half_plus_three"))
OLD, NEW = (traffic.answer_of(HALVES[name]) for name in ("half_plus_two", "half_plus_three"))


def records(kubectl: Kubectl, name: str) -> set[int]:
    """Return the numbers of the ControllerRevisions."""
    return {int(item["revision"]) for item in kubectl.items("controllerrevisions", selector(name))}


def fetched_digest(pod: Manifest) -> str:
    """Return the digest that a pod's fetch container reports."""
    [status] = [found for found in pod["status"]["initContainerStatuses"] if found["name"] == "fetch"]
    message = status["state"]["terminated"]["message"]
    return str(message.split('"digest":"')[1].split('"')[0])


def test_a_pinned_revision_serves_exactly_what_it_served(namespace: Kubectl) -> None:
    namespace.apply(deployment("pinned", TWO))
    first = wait.ready(namespace, "pinned")
    namespace.apply(deployment("pinned", THREE))
    second = wait.ready(namespace, "pinned")
    assert (first["status"]["updateRevision"], second["status"]["updateRevision"]) == (1, 2)
    assert first["status"]["digest"] != second["status"]["digest"]

    namespace.patch(KIND, "pinned", {"spec": {"pinnedRevision": 1}})
    state = wait.ready(namespace, "pinned")
    assert state["spec"]["model"]["uri"] == THREE
    assert state["status"]["targetRevision"] == 1
    assert state["status"]["digest"] == first["status"]["digest"]
    [pod] = pods(namespace, "pinned")
    assert fetched_digest(pod) == first["status"]["digest"]
    traffic.settled(namespace, "pinned", OLD)

    namespace.patch(KIND, "pinned", {"spec": {"pinnedRevision": 99}})
    state = wait.refused(namespace, "pinned", "RevisionNotFound", "99")
    assert current(state, "Available")["status"] == "True"
    assert uids(pods(namespace, "pinned")) == {pod["metadata"]["uid"]}
    assert records(namespace, "pinned") == {1, 2}

    namespace.patch(KIND, "pinned", {"spec": {"pinnedRevision": None}})
    state = wait.ready(namespace, "pinned")
    assert state["status"]["digest"] == second["status"]["digest"]
    assert records(namespace, "pinned") == {1, 2}
    traffic.settled(namespace, "pinned", NEW)


def test_a_source_that_changed_underneath_is_refused_and_said(namespace: Kubectl, models: Path, tmp_path: Path) -> None:
    file = f"changing-{namespace.namespace}.tar.gz"
    archive_server.put(namespace, packed(models / "half_plus_two", tmp_path / file))
    namespace.apply(deployment("changing", url(file)))
    before = wait.ready(namespace, "changing")
    [first] = pods(namespace, "changing")

    archive_server.put(namespace, packed(models / "half_plus_three", tmp_path / file))
    namespace.run("scale", "mdep", "changing", "--replicas=2")
    state = wait.refused(namespace, "changing", "FetchFailed", "SourceChanged")
    assert before["status"]["digest"] in current(state, "Ready")["message"]
    assert state["status"]["readyReplicas"] == 1
    assert current(state, "RolledBack")["status"] == "False"
    assert uids([first]) < uids(pods(namespace, "changing"))
    assert traffic.predict_once(namespace, "changing") == OLD

    # What was served before is there again: the pod that waited takes it.
    archive_server.put(namespace, packed(models / "half_plus_two", tmp_path / file))
    state = wait.until(namespace, KIND, "changing", lambda found: found["status"].get("readyReplicas") == 2)
    assert state["status"]["updateRevision"] == 1
    assert {fetched_digest(pod) for pod in pods(namespace, "changing")} == {before["status"]["digest"]}


def packed(model: Path, path: Path) -> Path:
    """Write an archive of a model's version 1."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(model / "1", "1")
    path.write_bytes(buffer.getvalue())
    return path


def is_update(revision: int, state: Manifest) -> bool:
    """Tell whether the status is about this revision."""
    return bool(state["status"].get("updateRevision") == revision)


def test_old_records_go_but_never_those_in_use(namespace: Kubectl) -> None:
    """Revisions that no node can take come and go; the current one and the update revision outlive a limit of two."""
    few = {"revisionHistoryLimit": 2}

    def too_large(gigabytes: int) -> dict[str, Any]:
        return {"resources": {"requests": {"memory": f"{gigabytes}Gi"}}, "rollout": few}

    namespace.apply(deployment("pruned", TWO, rollout=few))
    wait.ready(namespace, "pruned")
    for number in range(2, 7):
        namespace.apply(deployment("pruned", TWO, **too_large(900 + number)))
        wait.until(namespace, KIND, "pruned", partial(is_update, number))
    state = wait.refused(namespace, "pruned", "Unschedulable")
    kept = records(namespace, "pruned")
    assert {1, 6} <= kept
    assert len(kept) <= 4, kept
    assert state["status"]["currentRevision"] == 1
    namespace.apply(deployment("pruned", TWO, rollout=few))
    state = wait.ready(namespace, "pruned")
    assert state["status"]["updateRevision"] == 1
    assert 1 in records(namespace, "pruned")


def test_half_a_copy_is_not_pinned(namespace: Kubectl, models: Path, tmp_path: Path) -> None:
    """The server cannot load it; once the copy is complete, a new pod serves it."""
    file = f"half-{namespace.namespace}.tar.gz"
    half = tmp_path / "half" / "1"
    half.mkdir(parents=True)
    (half / "saved_model.pb").write_bytes((models / "half_plus_two" / "1" / "saved_model.pb").read_bytes())
    (half / "variables").mkdir()
    (half / "variables" / "variables.index").write_bytes(b"half")
    archive_server.put(namespace, packed(half.parent, tmp_path / file))
    namespace.apply(deployment("half", url(file)))
    state = wait.refused(namespace, "half", "LoadFailed")
    assert "serving.slipway.dev/retry=" in current(state, "Ready")["message"]
    archive_server.put(namespace, packed(models / "half_plus_two", tmp_path / file))
    namespace.run("delete", "pod", "--selector", selector("half"))
    wait.ready(namespace, "half")
    assert traffic.predict_once(namespace, "half") == OLD


def test_a_version_of_nanoseconds_is_served_by_all_pods(namespace: Kubectl, models: Path, tmp_path: Path) -> None:
    file, version = f"nanoseconds-{namespace.namespace}.tar.gz", 1764358400123456789
    with tarfile.open(tmp_path / file, mode="w:gz") as archive:
        archive.add(models / "half_plus_two" / "1", str(version))
    archive_server.put(namespace, tmp_path / file)
    namespace.apply(deployment("nanoseconds", url(file), replicas=2))
    state = wait.until(namespace, KIND, "nanoseconds", lambda found: found["status"].get("readyReplicas") == 2)
    assert state["status"]["modelVersion"] == str(version)


def test_a_configmap_of_somebody_is_not_read_as_a_pin(namespace: Kubectl) -> None:
    namespace.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "theirs-1"}, "data": {"version": "x"}}
    )
    namespace.apply(deployment("theirs", TWO))
    wait.ready(namespace, "theirs")


def without_owner(body: Manifest) -> Manifest:
    """Return an object as a backup restores it: the same, but nobody's and new."""
    kept = {key: value for key, value in body["metadata"].items() if key in ("name", "labels", "annotations")}
    return {key: value for key, value in body.items() if key != "status"} | {"metadata": kept}


def test_what_a_backup_left_behind_is_not_served(namespace: Kubectl, models: Path, tmp_path: Path) -> None:
    """Pins and records of a ModelDeployment that is gone say nothing of the next one with its name."""
    file = f"restored-{namespace.namespace}.tar.gz"
    archive_server.put(namespace, packed(models / "half_plus_two", tmp_path / file))
    namespace.apply(deployment("restored", url(file)))
    wait.ready(namespace, "restored")
    chosen = selector("restored")
    left = [*namespace.items("configmaps", chosen), *namespace.items("controllerrevisions", chosen)]
    assert {body["kind"] for body in left} == {"ConfigMap", "ControllerRevision"}
    namespace.run("delete", KIND, "restored", "--cascade=foreground", "--timeout=120s", timeout=130)
    namespace.apply(*map(without_owner, left))

    archive_server.put(namespace, packed(models / "half_plus_three", tmp_path / file))
    namespace.apply(deployment("restored", url(file)))
    wait.ready(namespace, "restored")
    traffic.settled(namespace, "restored", NEW)
