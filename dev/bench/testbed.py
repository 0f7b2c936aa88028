"""A fresh control plane with everything that a run needs: nodes, CRD, namespaces, a volume claim, users with rights."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dev.bench.audit import AuditLog
from dev.bench.operator_process import cpu_seconds
from dev.bench.workload import CLAIM, NAMESPACE
from dev.cluster import processes
from dev.cluster.api_client import Api
from dev.cluster.controlplane import ControlPlane, Nodes, Options
from dev.generate import crd
from slipway.api import GROUP, PLURAL

OPERATOR_NAMESPACE = "slipway-system"
OPERATOR_USER = "slipway"
CLIENT_USER = "bench-client"
COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok")
_CONTROLLER_FLAGS = (
    "--horizontal-pod-autoscaler-sync-period=60s",
    # A starved kwok renews its nodes' leases late; the pods of a node that is given up never become Ready again.
    "--node-monitor-grace-period=1h",
)


@dataclass(frozen=True)
class Bed:
    """Where a run takes place.

    Attributes:
        operator_config, client_config: kubeconfigs of the operator and of the bench's client; the API server treats
            both alike (same rights, no exemption from its priority and fairness).
    """

    plane: ControlPlane
    audit: AuditLog
    operator_config: Path
    client_config: Path

    def cpu(self) -> dict[str, float]:
        """Return the CPU seconds that each process of the control plane has used so far."""
        pids = {name: self.plane.pid(name) for name in COMPONENTS}
        return {name: cpu_seconds(pid) for name, pid in pids.items() if pid is not None}

    def lease_holder(self, name: str) -> str:
        """Return who holds the operator's Lease; empty when nobody does."""
        path = f"/apis/coordination.k8s.io/v1/namespaces/{OPERATOR_NAMESPACE}/leases/{name}"
        api = self.plane.api()
        if not api.exists(path):
            return ""
        holder: str = api.get(path)["spec"].get("holderIdentity") or ""
        return holder


@contextmanager
def bed(nodes: int) -> Iterator[Bed]:
    """Start a control plane, prepare it, and remove it at the end."""
    options = Options(
        controller_manager=True,
        scheduler=True,
        kwok=Nodes(count=nodes),
        audit=True,
        controller_manager_flags=_CONTROLLER_FLAGS,
    )
    with ControlPlane(options) as plane:
        _prepare(plane.api())
        yield Bed(
            plane=plane,
            audit=AuditLog(plane.audit_log),
            operator_config=plane.kubeconfig(user=OPERATOR_USER),
            client_config=plane.kubeconfig(user=CLIENT_USER),
        )


def _prepare(api: Api) -> None:
    for namespace in (NAMESPACE, OPERATOR_NAMESPACE):
        api.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
    for user in (OPERATOR_USER, CLIENT_USER):
        api.create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", _binding(user))
    api.create("/api/v1/persistentvolumes", _volume())
    api.create(f"/api/v1/namespaces/{NAMESPACE}/persistentvolumeclaims", _claim())
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    api.create(definitions, crd.definition())
    account = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default"
    for what, ready in (
        ("the CRD", lambda: _established(api, f"{definitions}/{PLURAL}.{GROUP}")),
        ("the volume claim", lambda: _bound(api)),
        ("the namespace's service account", lambda: api.exists(account)),
    ):
        processes.wait_until(ready, what, timeout=60)


def _established(api: Api, path: str) -> bool:
    conditions = api.get(path).get("status", {}).get("conditions") or []
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)


def _bound(api: Api) -> bool:
    claim = api.get(f"/api/v1/namespaces/{NAMESPACE}/persistentvolumeclaims/{CLAIM}")
    return bool(claim.get("status", {}).get("phase") == "Bound")


def _binding(user: str) -> dict[str, Any]:
    return {
        "metadata": {"name": f"bench-{user}"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }


def _volume() -> dict[str, Any]:
    return {
        "metadata": {"name": CLAIM},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadOnlyMany"],
            "storageClassName": "",
            "hostPath": {"path": "/models"},
            "claimRef": {"namespace": NAMESPACE, "name": CLAIM},
        },
    }


def _claim() -> dict[str, Any]:
    return {
        "metadata": {"name": CLAIM},
        "spec": {
            "accessModes": ["ReadOnlyMany"],
            "storageClassName": "",
            "volumeName": CLAIM,
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
