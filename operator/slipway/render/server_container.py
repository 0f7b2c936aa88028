"""The container `server`: TensorFlow Serving's command line and probes, for the version that will run."""

import math

from slipway.api import Batching, ModelDeploymentSpec, parse_duration
from slipway.domain import flags, names
from slipway.domain.objects import Manifest
from slipway.domain.servers import Images, Version, served_name
from slipway.render import gpu, termination
from slipway.render.shared import CONFIG, MODELS, literal, resources, restricted

_HEALTH_FLAG = "enable_grpc_healthcheck_service"
_STARTUP_PERIOD_SECONDS = 2
_STARTUP_AT_LEAST_SECONDS = 600


def server_container(name: str, spec: ModelDeploymentSpec, images: Images, version: Version | None) -> Manifest:
    """Return the container of ModelDeployment `name`; `version` is that of the server, None if it is unknown."""
    limits = {**spec.resources.limits, **gpu.limits(spec.gpu)}
    return {
        "name": names.SERVER_CONTAINER,
        "image": images.server,
        "imagePullPolicy": images.pull_policy,
        # By its name, instead of the image's entrypoint: a shell there would be process 1 and lose signals.
        "command": ["tensorflow_model_server"],
        "args": arguments(name, spec, version),
        "env": [
            {"name": "TF_CPP_MIN_LOG_LEVEL", "value": "1"},
            # Read by the drop-in server, which handles SIGTERM: how long running calls may take.
            {"name": "MODEL_SERVER_SHUTDOWN_SECONDS", "value": str(termination.CALL_SECONDS)},
            *gpu.environment(spec.gpu),
        ],
        "ports": [
            {"name": "grpc", "containerPort": names.GRPC_PORT, "protocol": "TCP"},
            {"name": "http", "containerPort": names.REST_PORT, "protocol": "TCP"},
        ],
        "resources": resources(spec.resources) | ({"limits": limits} if limits else {}),
        **probes(version, parse_duration(spec.rollout.progress_deadline)),
        "lifecycle": {"preStop": {"sleep": {"seconds": termination.sleep_seconds()}}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": restricted(),
        "volumeMounts": [
            {"name": "model", "mountPath": MODELS, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a mount of the pod
        ],
    }


def arguments(name: str, spec: ModelDeploymentSpec, version: Version | None) -> list[str]:
    """Return the server's arguments: Slipway's in a fixed order, then the user's by name."""
    given = dict(spec.runtime.args)
    found = {
        "port": str(names.GRPC_PORT),
        "rest_api_port": str(names.REST_PORT),
        "model_name": served_name(name, spec.runtime),
        "model_base_path": f"{MODELS}/{name}",  # whatever the model is called: no text of a user's becomes a path
        # One version for the pod's whole life, found once; a model that does not load ends the server at once instead of
        # after five attempts a minute apart without an open port.
        "file_system_poll_wait_seconds": "0",
        "max_num_load_retries": "0",
        "monitoring_config_file": f"{CONFIG}/monitoring.pbtxt",
        "grpc_channel_arguments": termination.channel_arguments(given.pop("grpc_channel_arguments", None)),
        "enable_profiler": "false",  # on by default, for every client of the gRPC port
        **_health(version),
        **_batching(spec.runtime.batching),
        **_warmup(spec),
        **gpu.flags(spec.gpu),
    }
    found |= dict(sorted(given.items()))
    return [f"--{flag}={literal(value)}" for flag, value in found.items()]


def batching_parameters(batching: Batching) -> str:
    """Return the batching parameters as `k=v,k=v`, the form that fetch reads, with the keys of the server's own file."""
    found = {
        "max_batch_size": batching.max_batch_size,
        "batch_timeout_micros": batching.timeout_micros,
        "max_enqueued_batches": batching.max_enqueued_batches,
        "num_batch_threads": batching.num_batch_threads,
    }
    return ",".join(f"{field}={value}" for field, value in found.items() if value is not None)


def probes(version: Version | None, progress_deadline: int) -> Manifest:
    """Return the three probes. The server opens its ports when the model is loaded, and not before.

    Args:
        version: of the server: one without the gRPC health service is probed for an open port.
        progress_deadline: seconds that a rollout may take; loading may take as long.
    """
    how = "grpc" if flags.supports(version, _HEALTH_FLAG) else "tcpSocket"
    startup_seconds = max(progress_deadline, _STARTUP_AT_LEAST_SECONDS)
    return {
        "startupProbe": {
            how: {"port": names.GRPC_PORT},
            "periodSeconds": _STARTUP_PERIOD_SECONDS,
            "timeoutSeconds": 5,
            "failureThreshold": math.ceil(startup_seconds / _STARTUP_PERIOD_SECONDS),
            "terminationGracePeriodSeconds": termination.STOP_SECONDS,
        },
        "readinessProbe": {
            how: {"port": names.GRPC_PORT},
            "periodSeconds": 5,
            "timeoutSeconds": 5,
            "failureThreshold": 3,
        },
        # A busy server answers late: only one that has been silent for a minute is restarted, and then at once: the
        # preStop hook would hold it as if it were serving.
        "livenessProbe": {
            how: {"port": names.GRPC_PORT},
            "periodSeconds": 10,
            "timeoutSeconds": 10,
            "failureThreshold": 6,
            "terminationGracePeriodSeconds": termination.STOP_SECONDS,
        },
    }


def _health(version: Version | None) -> dict[str, str]:
    return {_HEALTH_FLAG: "true"} if flags.supports(version, _HEALTH_FLAG) else {}


def _batching(batching: Batching | None) -> dict[str, str]:
    if batching is None:
        return {}
    return {"enable_batching": "true", "batching_parameters_file": f"{CONFIG}/batching.pbtxt"}


def _warmup(spec: ModelDeploymentSpec) -> dict[str, str]:
    warmup = spec.runtime.warmup
    return {} if warmup is None else {"num_request_iterations_for_warmup": str(warmup.iterations)}
