"""GetModelStatus: the states of a model's versions."""

from typing import Any

from google.protobuf import json_format

from model_server.errors import Code, ServingError, invalid_argument
from model_server.models.manager import Manager
from model_server.protobuf.generated import get_model_status_pb2


def get(manager: Manager, request: Any) -> Any:
    """A GetModelStatusRequest in, a GetModelStatusResponse out. A label is ignored, as in the C++ server."""
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    spec = request.model_spec
    states = manager.states(spec.name)
    if spec.HasField("version"):
        number = spec.version.value
        states = [state for state in states if state.version == number]
        if not states:
            raise ServingError(Code.NOT_FOUND, f"Could not find version {number} of model {spec.name}")
    if not states:
        raise ServingError(Code.NOT_FOUND, f"Could not find any versions of model {spec.name}")
    response = get_model_status_pb2.GetModelStatusResponse()
    for state in states:
        entry = response.model_version_status.add(version=state.version, state=int(state.state))
        entry.status.error_code = int(state.error.code) if state.error else 0
        entry.status.error_message = state.error.message if state.error else ""
    return response


def to_json(response: Any) -> str:
    """The REST form: every field printed."""
    text: str = json_format.MessageToJson(
        response, always_print_fields_with_no_presence=True, preserving_proto_field_name=True, indent=1
    )
    return text + "\n"
