"""The Deployment and its pod template: a fetch container that brings the model, a server container that serves it."""

from typing import Any

from slipway import names, quantities
from slipway.api import ModelDeploymentSpec, PodTemplate, parse_duration
from slipway.observed import Manifest
from slipway.render import drain, gate, gpu, pins, server
from slipway.render.parts import CONFIG, MODELS, SOURCE_VOLUME, claim, claim_volume, literal, locked_down
from slipway.render.wanted import Wanted
from slipway.runtimes import Images, Version

SOURCE = "/source"
USER = 65532
_TMP_LIMIT = "1Gi"
_FETCH_REQUESTS = {"cpu": "10m", "memory": "64Mi"}
_STORAGE = "ephemeral-storage"
_REPLICASETS_KEPT = 2
_SURGE = {"maxSurge": "25%", "maxUnavailable": 0}
_ONE_BY_ONE = {"maxSurge": 1, "maxUnavailable": 0}
_DRAIN_FIRST = {"maxSurge": 0, "maxUnavailable": 1}


def deployment(wanted: Wanted) -> Manifest:
    """Return the Deployment of the revision that is served."""
    owner, rollout = wanted.owner, wanted.spec.rollout
    spec: Manifest = {
        "selector": {"matchLabels": names.selector(owner.key.name)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": _rolling(wanted)},
        "progressDeadlineSeconds": parse_duration(rollout.progress_deadline),
        "revisionHistoryLimit": _REPLICASETS_KEPT,
        # Said in either case: a field that is no longer sent is not compared, and a Deployment would stay paused.
        "paused": wanted.paused,
        "template": wanted.record.template,
    }
    if wanted.replicas is not None:
        spec["replicas"] = wanted.replicas
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": owner.metadata(names.deployment(owner.key.name)),
        "spec": spec,
    }


def _rolling(wanted: Wanted) -> Manifest:
    return dict(_DRAIN_FIRST if wanted.draining else _ONE_BY_ONE if wanted.resolving else _SURGE)


def template(name: str, number: int, spec: ModelDeploymentSpec, images: Images, version: Version | None) -> Manifest:
    """Return the pod template of a revision.

    Args:
        name: of the ModelDeployment.
        number: of the revision.
        spec: what the user asks for.
        images: the images of the revision.
        version: version of the server, or None where it is not known.
    """
    added = spec.pod_template
    return {
        "metadata": {
            "labels": {**added.labels, **names.labels(name, number)},
            "annotations": {**added.annotations, "kubectl.kubernetes.io/default-container": names.SERVER_CONTAINER},
        },
        "spec": {
            "initContainers": [_fetch(name, number, spec, images), *gate.pilot(name, number, spec, images)],
            "containers": [_server(name, spec, images, version)],
            "volumes": _volumes(spec),
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "terminationGracePeriodSeconds": drain.grace_seconds(),
            "enableServiceLinks": False,  # a variable for each port of each Service of the namespace, read by nobody
            **_account(added),
            **_placement(spec),
        },
    }


def _fetch(name: str, number: int, spec: ModelDeploymentSpec, images: Images) -> Manifest:
    mounts: list[Manifest] = [{"name": "model", "mountPath": MODELS}, {"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108 - a mount of the pod
    if claim(spec.model.uri):
        mounts.append({"name": SOURCE_VOLUME, "mountPath": SOURCE, "readOnly": True})
    return {
        "name": names.FETCH_CONTAINER,
        "image": images.tools,
        "imagePullPolicy": images.pull_policy,
        "args": _fetch_arguments(name, spec),
        **pins.environment(name, number, spec),
        # The server's own, so that the pod as a whole asks for no more than the server does.
        "resources": _resources(spec) or {"requests": dict(_FETCH_REQUESTS)},
        "securityContext": locked_down(),
        "volumeMounts": [*mounts, *gate.fetch_mounts(spec)],
    }


def _fetch_arguments(name: str, spec: ModelDeploymentSpec) -> list[str]:
    model, batching = spec.model, spec.runtime.batching
    arguments = ["fetch", f"--uri={literal(model.uri)}"]
    if claimed := claim(model.uri):
        arguments.append(f"--source={literal(claimed.below(SOURCE))}")
    arguments.append(f"--destination={MODELS}/{name}")
    if model.version is not None:
        arguments.append(f"--version={model.version}")
    if model.digest is not None:
        arguments.append(f"--digest={model.digest}")
    if (storage := quantities.value(spec.resources.limits.get(_STORAGE, ""))) is not None:
        arguments.append(f"--max-bytes={max(1, int(storage))}")
    if "saved_model_tags" in spec.runtime.args:
        arguments.append(f"--saved-model-tags={literal(spec.runtime.args['saved_model_tags'])}")
    arguments += [f"--config-dir={CONFIG}", "--monitoring"]
    if batching is not None:
        arguments.append(f"--batching={server.batching_parameters(batching)}")
    return [*arguments, *gate.fetch_arguments(spec)]


def _server(name: str, spec: ModelDeploymentSpec, images: Images, version: Version | None) -> Manifest:
    limits = {**spec.resources.limits, **gpu.limits(spec.gpu)}
    return {
        "name": names.SERVER_CONTAINER,
        "image": images.server,
        "imagePullPolicy": images.pull_policy,
        # By its name, past the image's entrypoint: a shell there would be process 1 and lose signals.
        "command": ["tensorflow_model_server"],
        "args": server.arguments(name, spec, version),
        "env": [
            {"name": "TF_CPP_MIN_LOG_LEVEL", "value": "1"},
            # Read by the drop-in server, which handles SIGTERM: running calls may take so long.
            {"name": "MODEL_SERVER_DRAIN_SECONDS", "value": str(drain.CALL_SECONDS)},
            *gpu.environment(spec.gpu),
        ],
        "ports": [
            {"name": "grpc", "containerPort": names.GRPC_PORT, "protocol": "TCP"},
            {"name": "http", "containerPort": names.REST_PORT, "protocol": "TCP"},
        ],
        "resources": _resources(spec) | ({"limits": limits} if limits else {}),
        **server.probes(version, parse_duration(spec.rollout.progress_deadline)),
        "lifecycle": {"preStop": {"sleep": {"seconds": drain.sleep_seconds()}}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": locked_down(),
        "volumeMounts": [
            {"name": "model", "mountPath": MODELS, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a mount of the pod
        ],
    }


def _resources(spec: ModelDeploymentSpec) -> Manifest:
    found: Manifest = {}
    if spec.resources.requests:
        found["requests"] = dict(spec.resources.requests)
    if spec.resources.limits:
        found["limits"] = dict(spec.resources.limits)
    return found


def _volumes(spec: ModelDeploymentSpec) -> list[Manifest]:
    limit = spec.resources.limits.get(_STORAGE)
    volumes: list[Manifest] = [
        {"name": "model", "emptyDir": {"sizeLimit": limit} if limit else {}},
        {"name": "tmp", "emptyDir": {"sizeLimit": _TMP_LIMIT}},
    ]
    if claimed := claim(spec.model.uri):
        volumes.append(claim_volume(SOURCE_VOLUME, claimed))
    return [*volumes, *gate.volumes(spec)]


def _account(added: PodTemplate) -> Manifest:
    found: Manifest = {}
    if added.service_account_name:
        found["serviceAccountName"] = added.service_account_name
    else:
        found["automountServiceAccountToken"] = False
    if added.image_pull_secrets:
        found["imagePullSecrets"] = [{"name": secret.name} for secret in added.image_pull_secrets]
    return found


def _placement(spec: ModelDeploymentSpec) -> dict[str, Any]:
    added = spec.pod_template
    tolerations = [toleration.model_dump(by_alias=True, exclude_none=True) for toleration in added.tolerations]
    found = {
        "nodeSelector": {**gpu.node_selector(spec.gpu), **added.node_selector},
        "tolerations": [*gpu.tolerations(spec.gpu), *tolerations],
        "affinity": added.affinity,
        "priorityClassName": added.priority_class_name,
        "topologySpreadConstraints": added.topology_spread_constraints,
    }
    return {field: value for field, value in found.items() if value}
