"""Settings from flags and the files that they name: option checks, the configured models, batching, sessions.

Pure apart from reading the files that flags name. Every refusal is worded as the C++ server words it.
"""

import logging
from collections.abc import Iterable
from typing import Any

from model_server.config.options import Options
from model_server.config.settings import TENSORFLOW, BatchingConfig, ModelConfig, VersionPolicy
from model_server.errors import Code, ServingError, invalid_argument
from model_server.protobuf import textproto
from model_server.protobuf.generated import config_pb2, model_server_config_pb2

DEFAULT_METRICS_PATH = "/monitoring/prometheus/metrics"
_MODEL_TYPE_TENSORFLOW = 1
_REWRITER_ON = 1
_log = logging.getLogger(__name__)


def check(options: Options) -> None:
    """Refuse combinations that the C++ server refuses, in its order."""
    if options.port == 0 and not options.grpc_socket_path:
        raise invalid_argument(
            "At least one of server_options.grpc_port or server_options.grpc_socket_path must be set."
        )
    if options.use_alts_credentials and options.ssl_config_file:
        raise invalid_argument("Either use_alts_credentials must be false or ssl_config_file must be empty.")
    if not options.model_base_path and not options.model_config_file:
        raise invalid_argument("Both server_options.model_base_path and server_options.model_config_file are empty!")
    if options.use_alts_credentials:
        # Going on would mean to serve in plain text what was meant to be protected.
        raise ServingError(
            Code.UNIMPLEMENTED, "ALTS credentials are not supported by this server; use ssl_config_file."
        )


def models(options: Options) -> list[ModelConfig]:
    """The models to serve, from the config file or from --model_name and --model_base_path."""
    if not options.model_config_file:
        single = [ModelConfig(options.model_name, options.model_base_path)]
        _check_paths(single)
        return single
    message = textproto.read(options.model_config_file, model_server_config_pb2.ModelServerConfig())
    if message.WhichOneof("config") == "custom_model_config":
        raise ServingError(Code.UNIMPLEMENTED, "custom_model_config is not supported by this server.")
    return listed_models(message)


def listed_models(message: Any) -> list[ModelConfig]:
    """The models of a ModelServerConfig with a model_config_list, checked."""
    entries = message.model_config_list.config
    names: set[str] = set()
    for entry in entries:
        if entry.name in names:
            raise invalid_argument(f"Illegal to list model {entry.name} multiple times in config list")
        names.add(entry.name)
    _check_paths(entries)
    models = [_model(entry) for entry in entries]
    if any(entry.HasField("logging_config") for entry in entries):
        # No collector of logs is compiled into this server, nor into the official one, which says it like this.
        raise invalid_argument("No request-logger-creator provided.")
    return models


def batching(options: Options) -> BatchingConfig | None:
    """The batching settings, or None where batching is off."""
    if not options.enable_batching:
        if options.batching_parameters_file:
            raise invalid_argument(
                "server_options.batching_parameters_file is set without setting server_options.enable_batching to true."
            )
        return None
    if not options.batching_parameters_file:
        return BatchingConfig(thread_pool_name="model_server_batch_threads")
    return read_batching(options.batching_parameters_file)


def read_batching(path: str) -> BatchingConfig:
    """A BatchingParameters text file, checked."""
    return batching_of(textproto.read(path, textproto.message_class("BatchingParameters")()))


def batching_of(message: Any) -> BatchingConfig:
    """A BatchingParameters message, checked."""
    given: dict[str, Any] = {}
    for descriptor, value in message.ListFields():
        if descriptor.name == "allowed_batch_sizes":
            given[descriptor.name] = tuple(value)
        else:
            given[descriptor.name] = getattr(value, "value", value)
    given.setdefault("max_execution_batch_size", given.get("max_batch_size", 1000))
    config = BatchingConfig(**given)
    _check_batching(config)
    return config


def monitoring_path(options: Options) -> str | None:
    """The path of the Prometheus page, or None where it is off."""
    if not options.monitoring_config_file:
        return None
    message = textproto.read(options.monitoring_config_file, textproto.message_class("MonitoringConfig")())
    if not message.prometheus_config.enable:
        return None
    path: str = message.prometheus_config.path
    return path or DEFAULT_METRICS_PATH


def session_config(options: Options) -> bytes:
    """The serialized ConfigProto of every session. Flags overwrite the file, even at their defaults, as in C++."""
    message = config_pb2.ConfigProto()
    if options.tensorflow_session_config_file:
        textproto.read(options.tensorflow_session_config_file, message)
    message.gpu_options.per_process_gpu_memory_fraction = options.per_process_gpu_memory_fraction
    intra, inter = options.tensorflow_intra_op_parallelism, options.tensorflow_inter_op_parallelism
    both = options.tensorflow_session_parallelism
    if intra > 0 and inter > 0 and both > 0:
        raise invalid_argument(
            "Either configure server_options.tensorflow_session_parallelism or "
            "(server_options.tensorflow_intra_op_parallelism, server_options.tensorflow_inter_op_parallelism) "
            "separately. You cannot configure all."
        )
    if intra <= 0 and inter <= 0:
        intra = inter = both
    message.intra_op_parallelism_threads = intra
    message.inter_op_parallelism_threads = inter
    apply_mixed_precision(message, options.mixed_precision)
    serialized: bytes = message.SerializeToString()
    return serialized


def apply_mixed_precision(session: Any, mode: str) -> None:
    """Let TensorFlow rewrite graphs of a ConfigProto's sessions to bfloat16, the only mode there is."""
    if mode == "bfloat16":
        _log.info("Running inference with bfloat16 auto mixed precision")
        rewrite = session.graph_options.rewrite_options
        rewrite.auto_mixed_precision_onednn_bfloat16 = _REWRITER_ON
    elif mode:
        _log.warning("%s auto mixed precision is not supported. Valid option: bfloat16", mode)


def _check_paths(models: Iterable[Any]) -> None:
    for model in models:
        if "://" not in model.base_path and not model.base_path.startswith("/"):
            raise invalid_argument(
                f"Expected model {model.name} to have an absolute path or URI; got base_path()={model.base_path}"
            )


def _model(entry: Any) -> ModelConfig:
    platform = _platform(entry)
    if platform != TENSORFLOW:
        raise invalid_argument(f"Model {entry.name} requests unsupported platform {platform}")
    choice = entry.model_version_policy.WhichOneof("policy_choice")
    policy = VersionPolicy()
    if choice == "latest":
        policy = VersionPolicy(latest=max(entry.model_version_policy.latest.num_versions, 1))
    elif choice == "all":
        policy = VersionPolicy(everything=True)
    elif choice == "specific":
        policy = VersionPolicy(specific=tuple(entry.model_version_policy.specific.versions))
    return ModelConfig(entry.name, entry.base_path, platform, policy, dict(entry.version_labels))


def _platform(entry: Any) -> str:
    old: int = entry.model_type
    platform: str = entry.model_platform
    if old:
        _log.warning("Deprecated ModelServerConfig::model_type field used. Prefer ModelServerConfig::model_platform.")
        if platform:
            raise invalid_argument(
                "Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform, "
                f"model name is {entry.name}"
            )
        if old != _MODEL_TYPE_TENSORFLOW:
            raise invalid_argument(f"ModelServerConfig::model_type choice {old} not supported.")
        return TENSORFLOW
    if not platform:
        raise invalid_argument(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform, "
            f"model name is {entry.name}"
        )
    return platform


def _check_batching(config: BatchingConfig) -> None:
    allowed, limit = config.allowed_batch_sizes, config.max_batch_size
    if limit < 1:
        raise invalid_argument(f"max_batch_size must be positive; was {limit}")
    if config.batch_timeout_micros < 0:
        raise invalid_argument(f"batch_timeout_micros must be non-negative; was {config.batch_timeout_micros}")
    if config.max_enqueued_batches < 0:
        raise invalid_argument(f"max_enqueued_batches must be non-negative; was {config.max_enqueued_batches}")
    if config.num_batch_threads < 1:
        raise invalid_argument(f"num_batch_threads must be positive; was {config.num_batch_threads}")
    if not allowed:
        return
    if list(allowed) != sorted(allowed):
        raise invalid_argument("allowed_batch_sizes entries must be monotonically increasing")
    if allowed[-1] != limit:
        raise invalid_argument(
            "Last entry in allowed_batch_sizes must match max_batch_size; "
            f"last entry was {allowed[-1]}; expected {limit}"
        )
