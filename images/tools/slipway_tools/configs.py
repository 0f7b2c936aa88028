"""The server's text protos, written into the pod's own volume: no ConfigMap, and a pod's configuration never changes."""

import re
from pathlib import Path

from slipway_tools.archives.writer import FILE_MODE, sync_folder
from slipway_tools.errors import ModelError, Reason

MONITORING_FILE = "monitoring.pbtxt"
BATCHING_FILE = "batching.pbtxt"
METRICS_PATH = "/monitoring/prometheus/metrics"

# Fields of tensorflow.serving.BatchingParameters: wrapped numbers, a repeated number, a name, plain booleans.
_WRAPPED = frozenset(
    {"max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads", "max_execution_batch_size"}
)
_REPEATED = "allowed_batch_sizes"
_NAME = "thread_pool_name"
_BOOLEANS = frozenset({"pad_variable_length_inputs", "enable_large_batch_splitting"})
_NUMBER = re.compile(r"[0-9]{1,18}")
_POOL_NAME = re.compile(r"[A-Za-z0-9_.-]{1,63}")


def monitoring() -> str:
    """Return a tensorflow.serving.MonitoringConfig that turns the Prometheus endpoint on."""
    return f'prometheus_config {{\n  enable: true\n  path: "{METRICS_PATH}"\n}}\n'


def batching(pairs: str) -> str:
    """Turn `k=v,k=v` (BatchingParameters' own field names; allowed_batch_sizes may repeat) into its text form.

    Raises:
        ModelError: InternalError: the operator wrote these arguments, not a user.
    """
    lines = []
    for pair in filter(None, pairs.split(",")):
        key, equals, value = pair.partition("=")
        if not equals or not (line := _line(key.strip(), value.strip())):
            known = ", ".join(sorted({*_WRAPPED, *_BOOLEANS, _REPEATED, _NAME}))
            raise ModelError(
                Reason.INTERNAL_ERROR, f"spec.runtime.batching: {pair!a} is not a batching parameter; known: {known}"
            )
        lines.append(line)
    return "".join(lines)


def _line(key: str, value: str) -> str | None:
    if key in _WRAPPED and _NUMBER.fullmatch(value):
        return f"{key} {{ value: {int(value)} }}\n"
    if key == _REPEATED and _NUMBER.fullmatch(value):
        return f"{key}: {int(value)}\n"
    if key == _NAME and _POOL_NAME.fullmatch(value):
        return f'{key} {{ value: "{value}" }}\n'
    if key in _BOOLEANS and value in {"true", "false"}:
        return f"{key}: {value}\n"
    return None


def write(directory: Path, files: dict[str, str]) -> None:
    """Write the given files, each by an atomic rename, and drop those of a former start that are no longer wanted.

    Raises:
        OSError: from the volume.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for name in (MONITORING_FILE, BATCHING_FILE):
        if name not in files:
            (directory / name).unlink(missing_ok=True)
    for name, text in files.items():
        temporary = directory / f".{name}.new"
        temporary.write_text(text)
        temporary.chmod(FILE_MODE)
        temporary.replace(directory / name)
    sync_folder(directory)
