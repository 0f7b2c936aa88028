"""The server's command line and probes, for the version that will run."""

import math

from slipway import names, runtimes
from slipway.api import Batching, ModelDeploymentSpec
from slipway.observed import Manifest
from slipway.render import drain, gpu
from slipway.render.parts import CONFIG, MODELS, literal
from slipway.runtimes import Version

_HEALTH_FLAG = "enable_grpc_healthcheck_service"
_STARTUP_PERIOD_SECONDS = 2
_STARTUP_AT_LEAST_SECONDS = 600


def arguments(name: str, spec: ModelDeploymentSpec, version: Version | None) -> list[str]:
    """Return the server's arguments: Slipway's first, in a fixed order, then the user's, by name."""
    given = dict(spec.runtime.args)
    flags = {
        "port": str(names.GRPC_PORT),
        "rest_api_port": str(names.REST_PORT),
        "model_name": name,
        "model_base_path": f"{MODELS}/{name}",
        # One version for the pod's whole life, looked for once; a model that does not load ends the server at once
        # instead of after five tries a minute apart with no port open.
        "file_system_poll_wait_seconds": "0",
        "max_num_load_retries": "0",
        "monitoring_config_file": f"{CONFIG}/monitoring.pbtxt",
        "grpc_channel_arguments": drain.channel_arguments(given.pop("grpc_channel_arguments", None)),
        "enable_profiler": "false",  # on by default, for everybody who reaches the gRPC port
        **_health(version),
        **_batching(spec.runtime.batching),
        **_warmup(spec),
        **gpu.flags(spec.gpu),
    }
    flags |= dict(sorted(given.items()))
    return [f"--{flag}={literal(value)}" for flag, value in flags.items()]


def batching_parameters(batching: Batching) -> str:
    """Return the batching parameters as `k=v,k=v`, as fetch takes them, in the words of the server's own file."""
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
        version: version of the server: one without the gRPC health service is asked for an open port.
        progress_deadline: seconds that a roll-out may take; loading may take as long.
    """
    how = "grpc" if runtimes.knows(_HEALTH_FLAG, version) else "tcpSocket"
    patience = max(progress_deadline, _STARTUP_AT_LEAST_SECONDS)
    return {
        "startupProbe": {
            how: {"port": names.GRPC_PORT},
            "periodSeconds": _STARTUP_PERIOD_SECONDS,
            "timeoutSeconds": 5,
            "failureThreshold": math.ceil(patience / _STARTUP_PERIOD_SECONDS),
            "terminationGracePeriodSeconds": drain.STOP_SECONDS,
        },
        "readinessProbe": {
            how: {"port": names.GRPC_PORT},
            "periodSeconds": 5,
            "timeoutSeconds": 5,
            "failureThreshold": 3,
        },
        # A busy server answers late: only one that has been silent for a minute is restarted, and then at once:
        # the drain would hold it as if it were serving.
        "livenessProbe": {
            how: {"port": names.GRPC_PORT},
            "periodSeconds": 10,
            "timeoutSeconds": 10,
            "failureThreshold": 6,
            "terminationGracePeriodSeconds": drain.STOP_SECONDS,
        },
    }


def _health(version: Version | None) -> dict[str, str]:
    return {_HEALTH_FLAG: "true"} if runtimes.knows(_HEALTH_FLAG, version) else {}


def _batching(batching: Batching | None) -> dict[str, str]:
    if batching is None:
        return {}
    return {"enable_batching": "true", "batching_parameters_file": f"{CONFIG}/batching.pbtxt"}


def _warmup(spec: ModelDeploymentSpec) -> dict[str, str]:
    warmup = spec.runtime.warmup
    return {} if warmup is None else {"num_request_iterations_for_warmup": str(warmup.iterations)}
