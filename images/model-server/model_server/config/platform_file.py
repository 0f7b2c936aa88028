"""How models are loaded: from the flags, or from the file that replaces most of them (`--platform_config_file`)."""

from typing import Any

from model_server.config import from_flags
from model_server.config.options import Options
from model_server.config.settings import TENSORFLOW, LoaderSettings
from model_server.errors import Code, ServingError, invalid_argument
from model_server.protobuf import textproto

_ADAPTER = "tensorflow.serving.SavedModelBundleSourceAdapterConfig"


def loader_settings(options: Options) -> LoaderSettings:
    """The settings of the platform `tensorflow`; ServingError as the C++ server words it if they cannot be used."""
    if options.platform_config_file:
        return _from_file(options.platform_config_file)
    return LoaderSettings(
        tags=tuple(options.saved_model_tags.split(",")),
        session_config=from_flags.session_config(options),
        batching=from_flags.batching(options),
        per_model_batching=options.enable_per_model_batching_parameters,
        warmup_enabled=options.enable_model_warmup,
        warmup_iterations=options.num_request_iterations_for_warmup,
        prefer_tflite=options.prefer_tflite_model,
        tflite_interpreters=max(options.num_tflite_pools, 1) * max(options.num_tflite_interpreters_per_pool, 1),
    )


def check_thread_pools(options: Options) -> None:
    """Refuse a thread pool factory: none is compiled into this server, nor into the official one."""
    if not options.thread_pool_factory_config_file:
        return
    message = textproto.read(
        options.thread_pool_factory_config_file, textproto.message_class("ThreadPoolFactoryConfig")()
    )
    name = message.thread_pool_factory_config.type_url.rpartition("/")[2]
    raise ServingError(Code.INTERNAL, f"Unable to find compiled-in proto descriptor of type {name}")


def _from_file(path: str) -> LoaderSettings:
    message = textproto.read(path, textproto.message_class("PlatformConfigMap")())
    found = {entry.key: entry.value.source_adapter_config for entry in message.platform_configs}
    if TENSORFLOW not in found:
        raise ServingError(Code.FAILED_PRECONDITION, f"PlatformConfigMap has no entry for platform {TENSORFLOW}")
    adapter = textproto.message_class("SavedModelBundleSourceAdapterConfig")()
    packed = found[TENSORFLOW]
    if packed.type_url.rpartition("/")[2] != _ADAPTER or not packed.Unpack(adapter):
        raise invalid_argument(
            f"Couldn't find factory for config proto message type {packed.TypeName()}\nconfig={packed}"
        )
    return _from_message(adapter.legacy_config)


def _from_message(given: Any) -> LoaderSettings:
    batching = given.batching_parameters if given.HasField("batching_parameters") else None
    session = given.session_config
    from_flags.apply_mixed_precision(session, given.mixed_precision)
    pools = max(given.num_tflite_pools, 1)
    return LoaderSettings(
        tags=tuple(given.saved_model_tags) or ("serve",),
        session_config=session.SerializeToString(),
        batching=from_flags.batching_of(batching) if batching is not None else None,
        per_model_batching=given.enable_per_model_batching_params,
        warmup_enabled=given.enable_model_warmup,
        warmup_iterations=given.model_warmup_options.num_request_iterations.value,
        prefer_tflite=given.prefer_tflite_model,
        tflite_interpreters=pools * max(given.num_tflite_interpreters_per_pool, 1),
    )
