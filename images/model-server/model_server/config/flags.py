"""The command line, parsed as `tensorflow::Flags::Parse` parses it.

Only `--name=value` counts (a bool may stand alone), the last of a repeated flag wins, a bad value ends the start with the
usage text, and what is not known is reported and ignored. `--port 8500` is therefore two unknown arguments: that is the
contract, and whoever writes the flags (the operator) has to check them before.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from model_server.config.options import Options

#: What each flag does here, for the usage text.
HELP = {
    "port": "TCP port of the gRPC API; 0 opens none.",
    "grpc_socket_path": "UNIX socket on which the gRPC API listens too.",
    "rest_api_port": "TCP port of the REST API; 0 opens none. Must differ from --port.",
    "rest_api_num_threads": "Number of REST requests processed at the same time.",
    "rest_api_timeout_in_ms": "Time limit of a REST request inside the model.",
    "rest_api_enable_cors_support": "Add CORS headers to REST responses.",
    "enable_batching": "Join requests into batches.",
    "allow_version_labels_for_unavailable_models": "Allow labels on versions that are not loaded yet.",
    "batching_parameters_file": "File with a text BatchingParameters message; needs --enable_batching.",
    "enable_per_model_batching_parameters": "Read batching_params.pbtxt of each version instead of the file above.",
    "model_config_file": "File with a text ModelServerConfig message; then --model_name and --model_base_path are ignored.",
    "model_config_file_poll_wait_seconds": "Seconds between two readings of the model config file; 0 reads it once.",
    "model_name": "Name under which the model is served.",
    "model_base_path": "Directory of the model's numbered version directories.",
    "num_load_threads": "Models that may load at the same time once the ports are open; 0: one.",
    "num_unload_threads": "Threads that unload models.",
    "max_num_load_retries": "How often a failed load is tried again.",
    "load_retry_interval_micros": "Microseconds between two tries; negative: none.",
    "file_system_poll_wait_seconds": "Seconds between two looks for new versions; 0 looks once; negative: never.",
    "flush_filesystem_caches": "Drop file system caches after a load.",
    "tensorflow_session_parallelism": "Threads of a session, within and between operations; 0: automatic.",
    "tensorflow_session_config_file": "File with a text ConfigProto message for the sessions.",
    "tensorflow_intra_op_parallelism": "Threads within one operation; 0: automatic.",
    "tensorflow_inter_op_parallelism": "Operations that run at the same time; 0: automatic.",
    "use_alts_credentials": "Use Google ALTS credentials.",
    "ssl_config_file": "File with a text SSLConfig message; the gRPC port then speaks TLS.",
    "platform_config_file": "File with a text PlatformConfigMap message; replaces the flags for batching, sessions, warm-up, TFLite.",
    "per_process_gpu_memory_fraction": "Share of each GPU's memory to reserve; 0: TensorFlow decides.",
    "saved_model_tags": "Comma-separated tags of the meta graph to load.",
    "grpc_channel_arguments": "Comma-separated key=value arguments of the gRPC server.",
    "grpc_max_threads": "Number of gRPC requests processed at the same time.",
    "enable_model_warmup": "Replay the model's warm-up requests when it is loaded.",
    "num_request_iterations_for_warmup": "How often each warm-up request is repeated, if above 0.",
    "version": "Print the version and exit.",
    "monitoring_config_file": "File with a text MonitoringConfig message (Prometheus); needs --rest_api_port.",
    "remove_unused_fields_from_bundle_metagraph": "Keep only the signatures of the loaded meta graph.",
    "prefer_tflite_model": "Serve model.tflite where a version has one.",
    "num_tflite_pools": "Number of TFLite interpreter pools.",
    "num_tflite_interpreters_per_pool": "Interpreters of a TFLite pool; pools times this run at the same time.",
    "enable_signature_method_name_check": "Check the method name of signatures.",
    "xla_cpu_compilation_enabled": "Enable XLA on the CPU.",
    "xla_gpu_compilation_enabled": "Enable XLA on CPU and GPU.",
    "enable_profiler": "Serve tensorflow.ProfilerService.",
    "thread_pool_factory_config_file": "File with a text ThreadPoolFactoryConfig message; there is no factory, so the start fails.",
    "mixed_precision": "bfloat16: let TensorFlow rewrite models to it; nothing else is known.",
    "skip_initialize_tpu": "Do not initialize TPUs.",
    "enable_grpc_healthcheck_service": "Serve grpc.health.v1.Health.",
    "enable_serialization_as_tensor_content": "Encode outputs of Predict as tensor_content.",
}

#: Flags that are parsed and then change nothing, with the reason that is logged when one is set.
WITHOUT_EFFECT = {
    "num_unload_threads": "each model unloads on its own thread",
    "flush_filesystem_caches": "file system caches are left to the kernel",
    "remove_unused_fields_from_bundle_metagraph": "only the signatures are ever kept",
    "skip_initialize_tpu": "there is no TPU support",
}

_LIMITS = {"int32": 2**31, "int64": 2**63}
_INTEGER = re.compile(r"[ \t\n\v\f\r]*[+-]?[0-9]+")


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a command line says: the options, the arguments nobody knows, and the values that cannot be read."""

    options: Options
    unknown: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def usage_wanted(self) -> bool:
        """True where the C++ server prints its usage and exits with 255."""
        return bool(self.problems) or self.unknown[:1] == ("--help",)


def parse(arguments: Sequence[str]) -> Parsed:
    """Parse the arguments after the program's name. Never raises."""
    values: dict[str, Any] = {}
    unknown: list[str] = []
    problems: list[str] = []
    for position, argument in enumerate(arguments):
        if argument == "--":
            unknown.extend(arguments[position:])
            break
        found = _find(argument)
        if found is None:
            unknown.append(argument)
            continue
        name, kind, text = found
        value = _value(kind, text)
        if value is None:
            problems.append(f"Couldn't interpret value {text} for flag {name}.")
        else:
            values[name] = value
    return Parsed(Options(**values), tuple(unknown), tuple(problems))


def usage(program: str) -> str:
    """The usage text, in the C++ server's layout."""
    lines = [f"usage: {program}", "Flags:"]
    defaults = Options()
    for name, kind in _KINDS.items():
        default = getattr(defaults, name)
        shown = {
            "bool": str(default).lower(),
            "string": f'"{default}"',
            "float": f"{default:f}" if kind == "float" else "",
        }
        lines.append(f"\t{f'--{name}={shown.get(kind, default)}':<33}\t{kind}\t{HELP[name]}")
    return "\n".join(lines) + "\n"


def ignored(options: Options) -> list[str]:
    """One sentence for each flag that was set to something else than its default and has no effect here."""
    defaults = Options()
    return [
        f"--{name} has no effect in this server: {reason}"
        for name, reason in WITHOUT_EFFECT.items()
        if getattr(options, name) != getattr(defaults, name)
    ]


def _kind(annotation: Any) -> str:
    if annotation in (bool, str, float):
        return {bool: "bool", str: "string", float: "float"}[annotation]
    kind: str = annotation.__metadata__[0]
    return kind


_KINDS: dict[str, str] = {item.name: _kind(item.type) for item in fields(Options)}


def _find(argument: str) -> tuple[str, str, str] | None:
    if not argument.startswith("--"):
        return None
    body = argument[2:]
    name, equals, text = body.partition("=")
    kind = _KINDS.get(name)
    if kind == "bool":
        return name, kind, equals + text
    if kind is not None:
        return (name, kind, text) if equals else None
    # The C++ parser takes a bool flag by its prefix, so `--versions` is a bad value of --version.
    for known, known_kind in _KINDS.items():
        if known_kind == "bool" and body.startswith(known):
            return known, known_kind, body[len(known) :]
    return None


def _value(kind: str, text: str) -> Any:
    if kind == "string":
        return text
    if kind == "bool":
        return {"": True, "=true": True, "=false": False}.get(text)
    if kind == "float":
        return _float(text)
    if not _INTEGER.fullmatch(text):
        return None
    number = int(text)
    return number if -_LIMITS[kind] <= number < _LIMITS[kind] else None


def _float(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return None if "_" in text or text != text.rstrip() or math.isnan(number) else number
