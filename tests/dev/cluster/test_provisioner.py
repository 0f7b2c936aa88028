"""Which claims get a volume, which volumes go, and what a volume looks like."""

from pathlib import Path
from typing import Any

import pytest

from dev.cluster import fake_gpus
from dev.cluster.nodes.addons import PROVISIONER
from dev.cluster.nodes.provisioner import is_released, volume_for, wants_volume


def claim(**spec: object) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "data",
            "namespace": "demo",
            "uid": "u-1",
            "annotations": {"volume.kubernetes.io/selected-node": "one-node"},
        },
        "spec": {
            "storageClassName": "standard",
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            **spec,
        },
    }


def test_a_claim_with_a_node_wants_a_volume() -> None:
    assert wants_volume(claim())


@pytest.mark.parametrize("spec", [{"storageClassName": "fast"}, {"volumeName": "pv"}, {"volumeMode": "Block"}])
def test_claims_that_are_not_ours_or_served_already(spec: dict[str, object]) -> None:
    assert not wants_volume(claim(**spec))


def test_a_claim_nobody_uses_yet_or_any_more_waits() -> None:
    unused, dying = claim(), claim()
    del unused["metadata"]["annotations"]
    dying["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert not wants_volume(unused)
    assert not wants_volume(dying)


def test_a_volume_belongs_to_its_claim_and_its_node() -> None:
    volume = volume_for(claim(), Path("/volumes"))
    spec = volume["spec"]
    assert spec["hostPath"]["path"] == "/volumes/pvc-u-1"
    assert (spec["claimRef"]["namespace"], spec["claimRef"]["name"], spec["claimRef"]["uid"]) == ("demo", "data", "u-1")
    assert spec["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0]["values"] == ["one-node"]
    assert spec["capacity"] == {"storage": "1Gi"}


@pytest.mark.parametrize(
    ("owner", "phase", "policy", "gone"),
    [
        (PROVISIONER, "Released", "Delete", True),
        (PROVISIONER, "Bound", "Delete", False),
        (PROVISIONER, "Released", "Retain", False),
        ("somebody/else", "Released", "Delete", False),
    ],
)
def test_only_released_volumes_of_ours_go(owner: str, phase: str, policy: str, *, gone: bool) -> None:
    volume = {
        "metadata": {"annotations": {"pv.kubernetes.io/provisioned-by": owner}},
        "spec": {"persistentVolumeReclaimPolicy": policy},
        "status": {"phase": phase},
    }
    assert is_released(volume) is gone


def node(annotations: dict[str, str], labels: dict[str, str], resources: dict[str, str]) -> dict[str, Any]:
    return {
        "metadata": {"name": "one-node", "annotations": annotations, "labels": labels},
        "status": {"capacity": resources, "allocatable": resources},
    }


def test_gpus_are_a_resource_and_the_labels_of_feature_discovery() -> None:
    meta, operations = fake_gpus.patches(node({}, {}, {"cpu": "2"}), fake_gpus.Gpus(2, "NVIDIA-H100-80GB-HBM3"))
    assert [(o["op"], o["path"], o["value"]) for o in operations] == [
        ("add", "/status/capacity/nvidia.com~1gpu", "2"),
        ("add", "/status/allocatable/nvidia.com~1gpu", "2"),
    ]
    assert meta["metadata"]["labels"]["nvidia.com/gpu.product"] == "NVIDIA-H100-80GB-HBM3"
    assert meta["metadata"]["labels"]["nvidia.com/gpu.count"] == "2"


def test_taking_gpus_away_takes_only_what_was_given() -> None:
    given = node({"slipway.dev/fake-gpu": "nvidia.com/gpu"}, {"nvidia.com/gpu.count": "2", "zone": "a"},
                 {"cpu": "2", "nvidia.com/gpu": "2"})  # fmt: skip
    meta, operations = fake_gpus.patches(given, None)
    assert [(o["op"], o["path"]) for o in operations] == [
        ("remove", "/status/capacity/nvidia.com~1gpu"),
        ("remove", "/status/allocatable/nvidia.com~1gpu"),
    ]
    assert meta["metadata"]["labels"] == {"nvidia.com/gpu.count": None}
    assert meta["metadata"]["annotations"] == {"slipway.dev/fake-gpu": None}


def test_real_gpus_are_left_alone() -> None:
    real = node({}, {"nvidia.com/gpu.count": "8"}, {"nvidia.com/gpu": "8"})
    assert fake_gpus.patches(real, None) == (
        {"metadata": {"labels": {}, "annotations": {"slipway.dev/fake-gpu": None}}},
        [],
    )


def test_another_resource_replaces_the_one_before() -> None:
    given = node({"slipway.dev/fake-gpu": "nvidia.com/gpu"}, {}, {"nvidia.com/gpu": "2"})
    _, operations = fake_gpus.patches(given, fake_gpus.Gpus(1, resource="nvidia.com/mig-1g.10gb"))
    assert {(o["op"], o["path"].rpartition("/")[2]) for o in operations} == {
        ("remove", "nvidia.com~1gpu"),
        ("add", "nvidia.com~1mig-1g.10gb"),
    }
