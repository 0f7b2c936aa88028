"""Nodes that exist only in the API: what they are said to have, and how they are written there."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Nodes:
    """Simulated nodes: how many, and what each of them has to give (Kubernetes quantities)."""

    count: int = 1
    cpu: str = "64"
    memory: str = "256Gi"
    pods: int = 500
    labels: dict[str, str] = field(default_factory=dict)
    extended: dict[str, str] = field(default_factory=dict)


def node_object(name: str, nodes: Nodes) -> dict[str, Any]:
    """A simulated node as it is sent to the API server; kwok makes it Ready."""
    amounts = {"cpu": nodes.cpu, "memory": nodes.memory, "pods": str(nodes.pods), **nodes.extended}
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": labels | nodes.labels,
            "annotations": {"kwok.x-k8s.io/node": "fake"},
        },
        "status": {"allocatable": amounts, "capacity": amounts},
    }
