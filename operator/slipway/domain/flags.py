"""Flags of `tensorflow_model_server`: which version has which, which of them users may set, and their value types.

TensorFlow Serving prints `unknown argument` and goes on, so a misspelt flag would have no effect: flags are checked here,
against the version that will run. Source of the table: `tensorflow_model_server --help` of the tags compared.
"""

import difflib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from slipway.api import Reason, Runtime
from slipway.domain.objects import Problem
from slipway.domain.servers import Version


class Kind(StrEnum):
    """Type of a flag's value, in words for messages."""

    BOOL = "true or false"
    INT32 = "a whole number from -2147483648 to 2147483647"
    INT64 = "a whole number from -9223372036854775808 to 9223372036854775807"
    FLOAT = "a number"
    TEXT = "a text"


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag of the server.

    Attributes:
        kind: type of its value.
        since: first version that has it.
        reserved: why it may not be set in `spec.runtime.args`, with what to use instead; empty if it may.
        choices: the allowed values; empty for any.
    """

    kind: Kind
    since: Version = (0,)
    reserved: str = ""
    choices: tuple[str, ...] = ()


_BOOL, _INT32, _INT64, _FLOAT, _TEXT = Kind.BOOL, Kind.INT32, Kind.INT64, Kind.FLOAT, Kind.TEXT
_PORT = "Slipway sets it, so that Services and probes find the server: remove it"
_MODEL = "Slipway sets it from spec.model: remove it"
_ONE_MODEL = "a ModelDeployment serves one model: create another ModelDeployment for another model"
_IMMUTABLE = "a pod serves one version of its model for its whole life: change spec.model instead"
_PLAIN = "the probes speak plain gRPC: remove it"
_BATCHING = "use spec.runtime.batching instead"
_METRICS = "Slipway sets it, so that metrics have one address: remove it"

FLAGS: dict[str, Flag] = {
    "port": Flag(_INT32, reserved=_PORT),
    "grpc_socket_path": Flag(_TEXT),
    "rest_api_port": Flag(_INT32, reserved=_PORT),
    "rest_api_num_threads": Flag(_INT32),
    "rest_api_timeout_in_ms": Flag(_INT32),
    "rest_api_enable_cors_support": Flag(_BOOL),
    "enable_batching": Flag(_BOOL, reserved=_BATCHING),
    "batching_parameters_file": Flag(_TEXT, reserved=_BATCHING),
    "enable_per_model_batching_parameters": Flag(_BOOL, since=(2, 11)),
    "allow_version_labels_for_unavailable_models": Flag(_BOOL),
    "model_config_file": Flag(_TEXT, reserved=_ONE_MODEL),
    "model_config_file_poll_wait_seconds": Flag(_INT32, reserved=_ONE_MODEL),
    "model_name": Flag(_TEXT, reserved="use spec.runtime.modelName instead"),
    "model_base_path": Flag(_TEXT, reserved=_MODEL),
    "num_load_threads": Flag(_INT32),
    "num_unload_threads": Flag(_INT32),
    "max_num_load_retries": Flag(_INT32),
    "load_retry_interval_micros": Flag(_INT64),
    "file_system_poll_wait_seconds": Flag(_INT32, reserved=_IMMUTABLE),
    "flush_filesystem_caches": Flag(_BOOL),
    "tensorflow_session_parallelism": Flag(_INT64),
    "tensorflow_intra_op_parallelism": Flag(_INT64),
    "tensorflow_inter_op_parallelism": Flag(_INT64),
    "tensorflow_session_config_file": Flag(_TEXT, since=(2, 8)),
    "platform_config_file": Flag(_TEXT),
    "per_process_gpu_memory_fraction": Flag(_FLOAT, reserved="use spec.gpu.memoryFraction instead"),
    "saved_model_tags": Flag(_TEXT),
    "grpc_channel_arguments": Flag(_TEXT),
    "grpc_max_threads": Flag(_INT32),
    "use_alts_credentials": Flag(_BOOL, reserved=_PLAIN),
    "ssl_config_file": Flag(_TEXT, reserved=_PLAIN),
    "enable_model_warmup": Flag(_BOOL),
    "num_request_iterations_for_warmup": Flag(
        _INT32, since=(2, 8), reserved="use spec.runtime.warmup.iterations instead"
    ),
    "version": Flag(_BOOL, reserved="it prints the version and exits: use spec.runtime.version to choose one"),
    "monitoring_config_file": Flag(_TEXT, reserved=_METRICS),
    "remove_unused_fields_from_bundle_metagraph": Flag(_BOOL),
    "prefer_tflite_model": Flag(_BOOL),
    "num_tflite_pools": Flag(_INT32),
    "num_tflite_interpreters_per_pool": Flag(_INT32),
    "enable_signature_method_name_check": Flag(_BOOL),
    "xla_cpu_compilation_enabled": Flag(_BOOL),
    "xla_gpu_compilation_enabled": Flag(_BOOL, since=(2, 18)),
    "enable_profiler": Flag(_BOOL),
    "thread_pool_factory_config_file": Flag(_TEXT),
    "mixed_precision": Flag(_TEXT, since=(2, 15), choices=("bfloat16",)),
    "skip_initialize_tpu": Flag(_BOOL, since=(2, 15)),
    "enable_grpc_healthcheck_service": Flag(
        _BOOL, since=(2, 15), reserved="the probes need it and Slipway sets it: remove it"
    ),
    "enable_serialization_as_tensor_content": Flag(_BOOL, since=(2, 19)),
}
AGE_ARGUMENT = "grpc.max_connection_age"
"""Prefix of the gRPC channel arguments that graceful termination needs."""


def supports(version: Version | None, flag: str) -> bool:
    """Return whether a version of the server has a flag; None stands for the newest version."""
    return flag in FLAGS and (version is None or version >= FLAGS[flag].since)


def check(runtime: Runtime, version: Version | None) -> Iterator[Problem]:
    """Yield one problem for each flag of a spec that the version of the server cannot be started with, by name."""
    for name in sorted(runtime.args):
        field = f"spec.runtime.args.{name}"
        flag = FLAGS.get(name)
        if flag is None:
            yield Problem(Reason.UNKNOWN_FLAG, f"{field}: the server has no such flag{_near(name)}")
        elif flag.reserved:
            yield Problem(Reason.INVALID_SPEC, f"{field}: {flag.reserved}")
        elif not supports(version, name):
            yield Problem(Reason.UNKNOWN_FLAG, f"{field}: {_too_old(flag, version)}")
        elif fault := _value_fault(name, flag, runtime.args[name]):
            yield Problem(Reason.INVALID_SPEC, f"{field}: {fault}")
    if runtime.warmup is not None and not supports(version, "num_request_iterations_for_warmup"):
        too_old = _too_old(FLAGS["num_request_iterations_for_warmup"], version)
        yield Problem(Reason.INVALID_SPEC, f"spec.runtime.warmup: {too_old}")


def _near(name: str) -> str:
    known = [flag for flag, entry in FLAGS.items() if not entry.reserved]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    return f": did you mean {' or '.join(near)}?" if near else ": remove it"


def _too_old(flag: Flag, version: Version | None) -> str:
    return (
        f"version {_text(version or ())} of the server does not have it, {_text(flag.since)} is the first that does: "
        "raise spec.runtime.version or remove it"
    )


def _value_fault(name: str, flag: Flag, value: str) -> str:
    if any(not character.isprintable() for character in value):
        return "the value must not contain control characters"
    if flag.choices and value not in flag.choices:
        return f"{value!r} is not one of {', '.join(flag.choices)}"
    if not _fits(flag.kind, value):
        return f"{value[:64]!r} is not {flag.kind.value}"
    return _channel_arguments_fault(value) if name == "grpc_channel_arguments" else ""


def _fits(kind: Kind, value: str) -> bool:
    try:
        if kind is Kind.BOOL:
            return value in {"true", "false"}
        if kind in {Kind.INT32, Kind.INT64}:
            bits = 31 if kind is Kind.INT32 else 63
            return value.removeprefix("-").isdecimal() and value.isascii() and -(2**bits) <= int(value) < 2**bits
        if kind is Kind.FLOAT:
            return math.isfinite(float(value))
    except ValueError:
        return False
    return True


def _channel_arguments_fault(value: str) -> str:
    for item in value.split(","):
        name, equals, _ = item.partition("=")
        if not equals or not name:  # the server reads an item without `=` out of bounds
            return f"{item[:64]!r} is not NAME=VALUE: write NAME=VALUE,NAME=VALUE"
        if name.strip().startswith(AGE_ARGUMENT):
            return f"{name[:64]} is set by Slipway, so that connections leave a pod that is going away: remove it"
    return ""


def _text(version: Version) -> str:
    return ".".join(str(part) for part in version)
