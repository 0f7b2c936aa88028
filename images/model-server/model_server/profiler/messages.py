"""The messages of tensorflow.ProfilerService, which the published Python packages lack; used by `service.py` and reflection.

Written down from `tsl/profiler/protobuf/profiler_service.proto` of TensorFlow 2.21, without the fields of MonitorResponse: its
method answers with an error, in the C++ server too.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from model_server.protobuf.generated import profiler_options_pb2, xplane_pb2
from model_server.protobuf.textproto import add_field

SERVICE = "tensorflow.ProfilerService"
_FILE = "tsl/profiler/protobuf/profiler_service.proto"
_METHODS = ("Profile", "Terminate", "Monitor")
_MESSAGES: dict[str, list[tuple[int, str, str]]] = {
    "ToolRequestOptions": [(2, "output_formats", "string"), (3, "save_to_repo", "bool")],
    "ProfileRequest": [
        (1, "duration_ms", "uint64"),
        (2, "max_events", "uint64"),
        (3, "tools", "repeated string"),
        (8, "tool_options", "repeated tensorflow.ProfileRequest.ToolOptionsEntry"),
        (4, "opts", profiler_options_pb2.ProfileOptions.DESCRIPTOR.full_name),
        (5, "repository_root", "string"),
        (6, "session_id", "string"),
        (7, "host_name", "string"),
        (9, "emit_xspace", "bool"),
    ],
    "ProfileToolData": [(1, "name", "string"), (2, "data", "bytes")],
    "ProfileResponse": [
        (6, "tool_data", "repeated tensorflow.ProfileToolData"),
        (7, "empty_trace", "bool"),
        (8, "xspace", xplane_pb2.XSpace.DESCRIPTOR.full_name),
    ],
    "TerminateRequest": [(1, "session_id", "string")],
    "TerminateResponse": [],
    "MonitorRequest": [(1, "duration_ms", "uint64"), (2, "monitoring_level", "int32"), (3, "timestamp", "bool")],
    "MonitorResponse": [],
}


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name=_FILE, package="tensorflow", syntax="proto3")
    file.dependency.extend(module.DESCRIPTOR.name for module in (profiler_options_pb2, xplane_pb2))
    for message_name, fields in _MESSAGES.items():
        message = file.message_type.add(name=message_name)
        if message_name == "ProfileRequest":
            entry = message.nested_type.add(name="ToolOptionsEntry")
            entry.options.map_entry = True
            add_field(entry, 1, "key", "string")
            add_field(entry, 2, "value", "tensorflow.ToolRequestOptions")
        for number, field_name, kind in fields:
            add_field(message, number, field_name, kind)
    service = file.service.add(name=SERVICE.rpartition(".")[2])
    for method in _METHODS:
        request, response = f".tensorflow.{method}Request", f".tensorflow.{method}Response"
        service.method.add(name=method, input_type=request, output_type=response)
    return file


def _messages() -> dict[str, Any]:
    pool = descriptor_pool.Default()
    try:
        found = pool.FindFileByName(_FILE)
    except KeyError:
        pool.Add(_file())
        found = pool.FindFileByName(_FILE)
    return {name: message_factory.GetMessageClass(found.message_types_by_name[name]) for name in _MESSAGES}


_CLASSES = _messages()
ProfileRequest: Any = _CLASSES["ProfileRequest"]
ProfileResponse: Any = _CLASSES["ProfileResponse"]
MonitorRequest: Any = _CLASSES["MonitorRequest"]
TerminateRequest: Any = _CLASSES["TerminateRequest"]
TerminateResponse: Any = _CLASSES["TerminateResponse"]
