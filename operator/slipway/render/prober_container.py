"""The native sidecar `prober`, for `spec.rollout.gate`: the pod is Ready only while the server's answers pass the gate.

A native sidecar is an init container that is restarted, and whose readiness counts for the pod's. So

- it starts before the server and waits for the server's port: it has no startup probe, which would delay the server
  until the prober has passed what only the server can answer;
- the kubelet stops it after the server, so it stays as ready as it was during termination and does not prolong it;
  it has no preStop hook, which the kubelet would run at once.
"""

import json

from slipway.api import Gate, ModelDeploymentSpec
from slipway.domain import names
from slipway.domain.objects import Manifest
from slipway.domain.pod_defaults import PodDefaults
from slipway.domain.servers import Images, served_name
from slipway.render.shared import GOLDEN, MODELS, literal, resources, restricted
from slipway.render.termination import STOP_SECONDS

_NO_TOKEN = "no-token"  # noqa: S105 - name of a volume
_TOKEN_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a path
"""Where Kubernetes mounts the token of a service account, unless something is mounted there already."""


def prober_containers(
    name: str, number: int, spec: ModelDeploymentSpec, images: Images, defaults: PodDefaults
) -> list[Manifest]:
    """Return the sidecar of revision `number` of ModelDeployment `name`; nothing without a gate."""
    gate = spec.rollout.gate
    return [] if gate is None else [_prober(name, number, spec, gate, images, defaults)]


def prober_volumes(spec: ModelDeploymentSpec) -> list[Manifest]:
    """Return the volumes that only the prober mounts."""
    hides_token = spec.rollout.gate is not None and _has_token(spec)
    return [{"name": _NO_TOKEN, "emptyDir": {}}] if hides_token else []


def _prober(
    name: str, number: int, spec: ModelDeploymentSpec, gate: Gate, images: Images, defaults: PodDefaults
) -> Manifest:
    asked = spec.pod_template.prober_resources
    mounts: list[Manifest] = [{"name": "model", "mountPath": MODELS, "readOnly": True}]
    if _has_token(spec):
        mounts.append({"name": _NO_TOKEN, "mountPath": _TOKEN_MOUNT, "readOnly": True})
    return {
        "name": names.PROBER_CONTAINER,
        "image": images.tools,
        "imagePullPolicy": images.pull_policy,
        "restartPolicy": "Always",
        "args": [
            "prober",
            f"--server=127.0.0.1:{names.GRPC_PORT}",
            f"--model={literal(served_name(name, spec.runtime))}",
            f"--revision={number}",
            f"--golden={GOLDEN}",
            f"--gate={literal(_json(gate))}",
            f"--port={names.PROBER_PORT}",
        ],
        "ports": [{"name": "prober", "containerPort": names.PROBER_PORT, "protocol": "TCP"}],
        "resources": resources(defaults.prober_resources if asked is None else asked),
        **_probes(),
        # Its verdict, or the end of its log if it ended without one.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": restricted(),
        "volumeMounts": mounts,
    }


def _has_token(spec: ModelDeploymentSpec) -> bool:
    """Return whether the pod gets the token of a service account, which the prober has no use for."""
    return spec.pod_template.service_account_name is not None


def _probes() -> Manifest:
    """Return the probes: readiness every second, since a good pod waits up to one period for its first request.

    A wrong answer ends the prober, and the pod is not Ready at once; three silent seconds are allowed on a busy node. Only
    a prober that has been silent for a minute is restarted: it would send everything again, out of service.
    """
    return {
        "readinessProbe": {
            "httpGet": {"path": "/ready", "port": "prober"},
            "periodSeconds": 1,
            "timeoutSeconds": 3,
            "failureThreshold": 3,
        },
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": "prober"},
            "periodSeconds": 10,
            "timeoutSeconds": 10,
            "failureThreshold": 6,
            "terminationGracePeriodSeconds": STOP_SECONDS,
        },
    }


def _json(gate: Gate) -> str:
    """Return the gate as the prober reads it: the same text for the same gate, however it was written."""
    return json.dumps(gate.resolved(), sort_keys=True, separators=(",", ":"))
