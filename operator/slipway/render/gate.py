"""What `spec.rollout.gate` becomes in a pod: fetch brings the golden set, the pilot asks the server for its answers.

The pilot is a native sidecar: an init container that is restarted, and whose readiness counts for the pod's. So

- it starts before the server and asks until the server opens its port: it has no startup probe, which would hold the server
  back until the pilot has passed what only the server can answer;
- it is told to end after the server has ended, so it stays as ready as it was through the drain and adds nothing to it;
  it has no preStop hook, which the kubelet would run at once.
"""

import json

from slipway import names
from slipway.api import Gate, ModelDeploymentSpec
from slipway.observed import Manifest
from slipway.render.drain import STOP_SECONDS
from slipway.render.parts import CONFIG, MODELS, SOURCE_VOLUME, Claim, claim, claim_volume, literal, locked_down
from slipway.runtimes import Images

GOLDEN = f"{CONFIG}/golden"
"""Where fetch puts the golden set, in the pod's own volume."""
_VOLUME = "golden"
_NO_TOKEN = "no-token"  # noqa: S105 - name of a volume
_TOKEN_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a path
"""Where Kubernetes mounts the token of a service account, unless something is mounted there already."""
_MAP_MOUNT, _CLAIM_MOUNT = "/golden", "/golden-source"
_REQUESTS = {"cpu": "10m", "memory": "64Mi"}
_LIMITS = {"memory": "256Mi"}


def fetch_arguments(spec: ModelDeploymentSpec) -> list[str]:
    """Return the arguments that make fetch bring the golden set; none without a gate."""
    if spec.rollout.gate is None:
        return []
    golden = spec.rollout.gate.golden
    arguments = {
        "golden-dir": _MAP_MOUNT if golden.config_map is not None else None,
        "golden-name": golden.config_map,
        "golden-key": golden.key,
        "golden-uri": golden.uri,
        "golden-source": claimed.below(_CLAIM_MOUNT) if (claimed := claim(golden.uri)) else None,
        "golden-digest": golden.digest,
        "golden-path": golden.path,
    }
    return [f"--{name}={literal(value)}" for name, value in arguments.items() if value is not None]


def fetch_mounts(spec: ModelDeploymentSpec) -> list[Manifest]:
    """Return what fetch mounts to find the golden set."""
    if spec.rollout.gate is None:
        return []
    if spec.rollout.gate.golden.config_map is not None:
        return [{"name": _VOLUME, "mountPath": _MAP_MOUNT, "readOnly": True}]
    if claimed := claim(spec.rollout.gate.golden.uri):
        volume = SOURCE_VOLUME if _shared(spec, claimed) else _VOLUME
        return [{"name": volume, "mountPath": _CLAIM_MOUNT, "readOnly": True}]
    return []


def volumes(spec: ModelDeploymentSpec) -> list[Manifest]:
    """Return the volumes that fetch and pilot mount, and that the model does not bring already."""
    if spec.rollout.gate is None:
        return []
    golden = spec.rollout.gate.golden
    found: list[Manifest] = [{"name": _NO_TOKEN, "emptyDir": {}}] if _has_token(spec) else []
    if golden.config_map is not None:
        # Optional: the kubelet would hold the pod without a word in its status; fetch says what is missing.
        found.append({"name": _VOLUME, "configMap": {"name": golden.config_map, "optional": True}})
    claimed = claim(golden.uri)
    return [*found, claim_volume(_VOLUME, claimed)] if claimed and not _shared(spec, claimed) else found


def _has_token(spec: ModelDeploymentSpec) -> bool:
    """Tell whether the pod gets the token of a service account: the pilot, which asks its own pod alone, must not."""
    return spec.pod_template.service_account_name is not None


def _shared(spec: ModelDeploymentSpec, claimed: Claim) -> bool:
    """Tell whether the model is on the same claim: kubelets have waited for ever for a pod with two volumes of one."""
    model = claim(spec.model.uri)
    return model is not None and model.name == claimed.name


def pilot(name: str, number: int, spec: ModelDeploymentSpec, images: Images) -> list[Manifest]:
    """Return the sidecar that is ready when, and as long as, the server beside it answers rightly; none without a gate.

    Args:
        name: of the ModelDeployment, and of the model.
        number: of the revision.
        spec: what the user asks for.
        images: the images of the revision.
    """
    return [] if spec.rollout.gate is None else [_pilot(name, number, spec, spec.rollout.gate, images)]


def _pilot(name: str, number: int, spec: ModelDeploymentSpec, gate: Gate, images: Images) -> Manifest:
    mounts: list[Manifest] = [{"name": "model", "mountPath": MODELS, "readOnly": True}]
    if _has_token(spec):
        mounts.append({"name": _NO_TOKEN, "mountPath": _TOKEN_MOUNT, "readOnly": True})
    return {
        "name": names.PILOT_CONTAINER,
        "image": images.tools,
        "imagePullPolicy": images.pull_policy,
        "restartPolicy": "Always",
        "args": [
            "pilot",
            f"--server=127.0.0.1:{names.GRPC_PORT}",
            f"--model={name}",
            f"--revision={number}",
            f"--golden={GOLDEN}",
            f"--gate={literal(_json(gate))}",
            f"--port={names.PILOT_PORT}",
        ],
        "ports": [{"name": "pilot", "containerPort": names.PILOT_PORT, "protocol": "TCP"}],
        "resources": {"requests": dict(_REQUESTS), "limits": dict(_LIMITS)},
        **_probes(),
        # Its verdict, or the end of its log where it ended without one.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": locked_down(),
        "volumeMounts": mounts,
    }


def _probes() -> Manifest:
    """Return the probes: often for readiness, since each period is one that a good pod waits for its first request.

    A wrong answer ends the pilot, and the pod is not ready at once; three silent seconds are allowed to a busy node. Only
    a pilot that has been silent for a minute is restarted: it would ask everything again, out of service.
    """
    return {
        "readinessProbe": {
            "httpGet": {"path": "/ready", "port": "pilot"},
            "periodSeconds": 1,
            "timeoutSeconds": 3,
            "failureThreshold": 3,
        },
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": "pilot"},
            "periodSeconds": 10,
            "timeoutSeconds": 10,
            "failureThreshold": 6,
            "terminationGracePeriodSeconds": STOP_SECONDS,
        },
    }


def _json(gate: Gate) -> str:
    """Return the gate as the pilot reads it: the same text for the same gate, however it was written."""
    fields = gate.model_dump(mode="json", by_alias=True, exclude_none=True)
    return json.dumps(fields, sort_keys=True, separators=(",", ":"))
