"""The settings of models and of how they are loaded: plain values, made by `from_flags` and `platform_file`."""

from dataclasses import dataclass, field

from model_server.config.options import schedulable_cpus

#: The only model platform.
TENSORFLOW = "tensorflow"


@dataclass(frozen=True, slots=True)
class VersionPolicy:
    """Which versions to serve: the `latest` highest ones, or all, or exactly `specific`."""

    latest: int = 1
    everything: bool = False
    specific: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """One served model."""

    name: str
    base_path: str
    platform: str = TENSORFLOW
    policy: VersionPolicy = VersionPolicy()
    labels: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BatchingConfig:
    """BatchingParameters with the C++ server's defaults. Times in microseconds."""

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = field(default_factory=schedulable_cpus)
    thread_pool_name: str = "batch_threads"
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int = 1000


@dataclass(frozen=True, slots=True)
class LoaderSettings:
    """How models are loaded; see the flags of the same names."""

    tags: tuple[str, ...]
    session_config: bytes
    batching: BatchingConfig | None
    per_model_batching: bool
    warmup_enabled: bool
    warmup_iterations: int
    prefer_tflite: bool
    tflite_interpreters: int
