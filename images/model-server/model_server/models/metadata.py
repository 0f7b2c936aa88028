"""GetModelMetadata: the signatures of a version."""

import json
from typing import Any

from google.protobuf import json_format

from model_server.errors import invalid_argument
from model_server.models.manager import Manager
from model_server.protobuf.generated import get_model_metadata_pb2

_SIGNATURE_DEF = "signature_def"


def get(manager: Manager, request: Any) -> Any:
    """A GetModelMetadataRequest in, a GetModelMetadataResponse out."""
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    if not request.metadata_field:
        raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
    for name in request.metadata_field:
        if name != _SIGNATURE_DEF:
            raise invalid_argument(f"Metadata field {name} is not supported")
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    signatures = get_model_metadata_pb2.SignatureDefMap()
    with manager.acquire(request.model_spec) as servable:
        for name, signature in servable.signatures.items():
            signatures.signature_def[name].CopyFrom(signature)
        response.model_spec.name = servable.name
        response.model_spec.version.value = servable.version
    response.metadata[_SIGNATURE_DEF].Pack(signatures)
    return response


def to_json(response: Any) -> str:
    """The REST form: proto field names, defaults printed, the packed signature map opened."""
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata[_SIGNATURE_DEF].Unpack(signatures)
    document = {
        "model_spec": _as_dict(response.model_spec),
        "metadata": {_SIGNATURE_DEF: _as_dict(signatures)},
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _as_dict(message: Any) -> dict[str, Any]:
    printed: dict[str, Any] = json_format.MessageToDict(
        message, always_print_fields_with_no_presence=True, preserving_proto_field_name=True
    )
    return printed
