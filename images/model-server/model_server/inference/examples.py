"""`tensorflow.serving.Input`, the examples of Classify and Regress: from the message to the string tensor that models parse.

A context holds features that all examples share. As in the C++ server it is put in front of each example's bytes: parsing
two concatenated messages merges them, and a feature of the example wins.
"""

from typing import Any

from model_server.errors import invalid_argument
from model_server.protobuf import wire_format
from model_server.tensors import dtypes
from model_server.tensors.host_tensor import HostTensor, string_array

_EXAMPLES, _CONTEXT = 1, 2


def to_tensor(message: Any) -> HostTensor:
    """An Input message in, a string tensor of shape [examples] out, each element a serialized tf.Example."""
    kind = message.WhichOneof("kind")
    # Straight from the bytes: an object for each example and feature would cost more than the model.
    encoded = getattr(message, kind).SerializeToString() if kind else b""
    values = [bytes(example) for example in wire_format.bytes_fields(encoded, _EXAMPLES)]
    if not values:
        raise invalid_argument("Input is empty.")
    if kind == "example_list_with_context":
        context = b"".join(bytes(part) for part in wire_format.bytes_fields(encoded, _CONTEXT))
        values = [context + value for value in values]
    return HostTensor(dtypes.STRING, string_array(values, len(values)))
