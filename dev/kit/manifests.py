"""The Kubernetes objects that the demo and the e2e tests make beside ModelDeployments: all pure, all `restricted`."""

import base64
from typing import Any

Manifest = dict[str, Any]

TOOLS_IMAGE = "slipway/tools:0.1.0"
CLAIM = "models"
PUBLISHER = "publisher"
USER = 65532
_LEVEL = "pod-security.kubernetes.io"


def namespace(name: str) -> Manifest:
    """Return a namespace that refuses, and warns of, anything below the restricted Pod Security Standard."""
    labels = {f"{_LEVEL}/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def claim(name: str = CLAIM, size: str = "1Gi") -> Manifest:
    """Return a claim for a volume of the cluster's default storage class."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}},
    }


def golden_set(name: str, content: bytes) -> Manifest:
    """Return a ConfigMap of one file, what `kubectl create configmap NAME --from-file=golden.npz` makes."""
    data = {"golden.npz": base64.b64encode(content).decode()}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "binaryData": data}


def container_security() -> Manifest:
    """Return what the restricted standard requires of a container, and a read-only root besides."""
    return {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


def pod_security() -> Manifest:
    """Return what the restricted standard requires of a pod; volumes become writable for its group."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def publisher(name: str = PUBLISHER, claim_name: str = CLAIM) -> Manifest:
    """Return a pod that holds the claim at /models and waits for `kubectl exec … slipway-tools publish`."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": pod_security(),
            "containers": [
                {
                    "name": "publisher",
                    "image": TOOLS_IMAGE,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["python3", "-c", "import signal; signal.pause()"],
                    "resources": {
                        "requests": {"cpu": "10m", "memory": "32Mi"},
                        "limits": {"memory": "256Mi"},
                    },
                    "securityContext": container_security(),
                    "volumeMounts": [
                        {"name": "models", "mountPath": "/models"},
                        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  inside the pod
                    ],
                }
            ],
            "volumes": [
                {"name": "models", "persistentVolumeClaim": {"claimName": claim_name}},
                {"name": "tmp", "emptyDir": {}},
            ],
        },
    }
