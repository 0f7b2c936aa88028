"""Text protocol messages of TensorFlow Serving that the published Python package lacks.

Their descriptors are written down here (from the `.proto` files of TensorFlow Serving), so that protobuf's own text parser
reads the files, with its own error messages.
"""

from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2

from model_server.errors import Code, ServingError, invalid_argument
from model_server.protobuf.generated import config_pb2

_Field = tuple[int, str, str]  # number, name, type: a scalar, "repeated int64" or a message's full name
_ANY = any_pb2.Any.DESCRIPTOR.full_name
_INT32 = wrappers_pb2.Int32Value.DESCRIPTOR.full_name
_INT64 = wrappers_pb2.Int64Value.DESCRIPTOR.full_name
_BOOL = wrappers_pb2.BoolValue.DESCRIPTOR.full_name
_STRING = wrappers_pb2.StringValue.DESCRIPTOR.full_name

_MESSAGES: dict[str, list[_Field]] = {
    "PrometheusConfig": [(1, "enable", "bool"), (2, "path", "string")],
    "MonitoringConfig": [(1, "prometheus_config", "tensorflow.serving.PrometheusConfig")],
    "SSLConfig": [
        (1, "server_key", "string"),
        (2, "server_cert", "string"),
        (3, "custom_ca", "string"),
        (4, "client_verify", "bool"),
    ],
    "ThreadPoolFactoryConfig": [(1, "thread_pool_factory_config", _ANY)],
    "PlatformConfig": [(1, "source_adapter_config", _ANY)],
    # A map on the wire and in text alike.
    "PlatformConfigEntry": [(1, "key", "string"), (2, "value", "tensorflow.serving.PlatformConfig")],
    "PlatformConfigMap": [(1, "platform_configs", "repeated tensorflow.serving.PlatformConfigEntry")],
    "SavedModelBundleSourceAdapterConfig": [(1000, "legacy_config", "tensorflow.serving.SessionBundleConfig")],
    "ModelWarmupOptions": [
        (1, "num_request_iterations", _INT32),
        (2, "num_model_warmup_threads", _INT32),
        (3, "model_name", "string"),
        (4, "model_version", "int64"),
        (5, "enable_all_batch_sizes_warmup", "bool"),
    ],
    "SessionBundleConfig": [
        (1, "session_target", "string"),
        (2, "session_config", config_pb2.ConfigProto.DESCRIPTOR.full_name),
        (3, "batching_parameters", "tensorflow.serving.BatchingParameters"),
        (4, "session_run_load_threadpool_index", _INT32),
        (5, "experimental_transient_ram_bytes_during_load", "int64"),
        (6, "saved_model_tags", "repeated string"),
        (779, "enable_model_warmup", "bool"),
        (780, "model_warmup_options", "tensorflow.serving.ModelWarmupOptions"),
        (781, "enable_session_metadata", "bool"),
        (782, "remove_unused_fields_from_bundle_metagraph", "bool"),
        (783, "prefer_tflite_model", "bool"),
        (784, "resource_estimation_uses_validation_result", "bool"),
        (786, "num_tflite_interpreters_per_pool", "int64"),
        (787, "num_tflite_pools", "int64"),
        (788, "wrap_session_with_no_threading_params", "bool"),
        (789, "enable_per_model_batching_params", "bool"),
        (790, "enable_saved_model_config", "bool"),
        (791, "mixed_precision", "string"),
    ],
    "BatchingParameters": [
        (1, "max_batch_size", _INT64),
        (2, "batch_timeout_micros", _INT64),
        (3, "max_enqueued_batches", _INT64),
        (4, "num_batch_threads", _INT64),
        (5, "thread_pool_name", _STRING),
        (6, "allowed_batch_sizes", "repeated int64"),
        (7, "pad_variable_length_inputs", "bool"),
        (8, "enable_large_batch_splitting", _BOOL),
        (9, "max_execution_batch_size", _INT64),
    ],
}
_SCALARS = {
    "bool": descriptor_pb2.FieldDescriptorProto.TYPE_BOOL,
    "bytes": descriptor_pb2.FieldDescriptorProto.TYPE_BYTES,
    "string": descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
    "int32": descriptor_pb2.FieldDescriptorProto.TYPE_INT32,
    "int64": descriptor_pb2.FieldDescriptorProto.TYPE_INT64,
    "uint64": descriptor_pb2.FieldDescriptorProto.TYPE_UINT64,
}


@cache
def message_class(name: str) -> Any:
    """The class of one of the messages above."""
    pool = descriptor_pool.Default()
    file = descriptor_pb2.FileDescriptorProto(
        name="model_server/text_messages.proto", package="tensorflow.serving", syntax="proto3"
    )
    file.dependency.extend(module.DESCRIPTOR.name for module in (wrappers_pb2, any_pb2, config_pb2))
    for message_name, fields in _MESSAGES.items():
        message = file.message_type.add(name=message_name)
        for number, field_name, kind in fields:
            add_field(message, number, field_name, kind)
    try:
        pool.FindMessageTypeByName(f"tensorflow.serving.{name}")
    except KeyError:
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"tensorflow.serving.{name}"))


def add_field(message: descriptor_pb2.DescriptorProto, number: int, name: str, kind: str) -> None:
    """Add a field; `kind` is a scalar's name or a message's full name, after "repeated " where there may be several."""
    repeated = kind.startswith("repeated ")
    kind = kind.removeprefix("repeated ")
    label = (
        descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
        if repeated
        else descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
    )
    field = message.field.add(name=name, number=number, label=label)
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
        field.type_name = f".{kind}"


def read(path: str, message: Any) -> Any:
    """Fill `message` from the text file `path`; ServingError as the C++ server words it, with the parser's reason."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        reason = error.strerror or str(error)
        code = Code.NOT_FOUND if isinstance(error, FileNotFoundError) else Code.FAILED_PRECONDITION
        raise ServingError(code, f"{path}; {reason}") from error
    except UnicodeDecodeError as error:
        raise invalid_argument(f"Invalid protobuf file: '{path}'") from error
    try:
        return text_format.Parse(text, message)
    except text_format.ParseError as error:
        name = message.DESCRIPTOR.full_name
        raise TextError(f"Error parsing text-format {name}: {error}", f"Invalid protobuf file: '{path}'") from error


class TextError(ServingError):
    """A text file that does not parse; `detail` is the parser's line for the log."""

    def __init__(self, detail: str, message: str) -> None:
        super().__init__(Code.INVALID_ARGUMENT, message)
        self.detail = detail
