"""The server's options: one field per flag of `tensorflow_model_server` 2.20, same names, types and defaults."""

import os
from dataclasses import dataclass, field
from typing import Annotated

# The C++ type that decides how a value is parsed.
Int32 = Annotated[int, "int32"]
Int64 = Annotated[int, "int64"]


def schedulable_cpus() -> int:
    """CPUs that this process may run on (cgroup quotas are not seen, as in the C++ server)."""
    return len(os.sched_getaffinity(0))


def _threads() -> int:
    return 4 * schedulable_cpus()


@dataclass(frozen=True, slots=True)
class Options:
    """Values of all flags, in the order of the C++ server's usage text. Annotations name the C++ type."""

    port: Int32 = 8500
    grpc_socket_path: str = ""
    rest_api_port: Int32 = 0
    rest_api_num_threads: Int32 = field(default_factory=_threads)
    rest_api_timeout_in_ms: Int32 = 30000
    rest_api_enable_cors_support: bool = False
    enable_batching: bool = False
    allow_version_labels_for_unavailable_models: bool = False
    batching_parameters_file: str = ""
    enable_per_model_batching_parameters: bool = False
    model_config_file: str = ""
    model_config_file_poll_wait_seconds: Int32 = 0
    model_name: str = "default"
    model_base_path: str = ""
    num_load_threads: Int32 = 0
    num_unload_threads: Int32 = 0
    max_num_load_retries: Int32 = 5
    load_retry_interval_micros: Int64 = 60_000_000
    file_system_poll_wait_seconds: Int32 = 1
    flush_filesystem_caches: bool = True
    tensorflow_session_parallelism: Int64 = 0
    tensorflow_session_config_file: str = ""
    tensorflow_intra_op_parallelism: Int64 = 0
    tensorflow_inter_op_parallelism: Int64 = 0
    use_alts_credentials: bool = False
    ssl_config_file: str = ""
    platform_config_file: str = ""
    per_process_gpu_memory_fraction: float = 0.0
    saved_model_tags: str = "serve"
    grpc_channel_arguments: str = ""
    grpc_max_threads: Int32 = field(default_factory=_threads)
    enable_model_warmup: bool = True
    num_request_iterations_for_warmup: Int32 = 0
    version: bool = False
    monitoring_config_file: str = ""
    remove_unused_fields_from_bundle_metagraph: bool = True
    prefer_tflite_model: bool = False
    num_tflite_pools: Int32 = field(default_factory=schedulable_cpus)
    num_tflite_interpreters_per_pool: Int32 = 1
    enable_signature_method_name_check: bool = False
    xla_cpu_compilation_enabled: bool = False
    xla_gpu_compilation_enabled: bool = False
    enable_profiler: bool = True
    thread_pool_factory_config_file: str = ""
    mixed_precision: str = ""
    skip_initialize_tpu: bool = False
    enable_grpc_healthcheck_service: bool = False
    enable_serialization_as_tensor_content: bool = False
