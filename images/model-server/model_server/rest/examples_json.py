"""The JSON forms of Classify and Regress: `{"signature_name"?, "context"?, "examples": […]}` → `{"results": …}`.

An example is an object of features. Whole numbers and booleans become int64 lists, other numbers float lists, strings and
`{"b64": …}` bytes lists; a feature holds one kind only. Messages are those of the C++ server's `json_tensor.cc`.
"""

from typing import Any

import numpy as np

from model_server.errors import invalid_argument
from model_server.protobuf.generated import example_pb2
from model_server.rest import json_tensors, json_text, predict_json

_INT64, _UINT64 = 2**63, 2**64
_KINDS = {"bytes_list": "bytes", "float_list": "float", "int64_list": "int64"}


def fill_request(body: bytes, request: Any) -> None:
    """Fill signature name and input of a ClassificationRequest or RegressionRequest from a JSON body."""
    document = json_text.parse(body)
    signature_name = document.get("signature_name", "")
    if not isinstance(signature_name, str):
        raise predict_json.format_error(
            document, "not formatted correctly. 'signature_name' key must be a string value."
        )
    request.model_spec.signature_name = _utf8(signature_name)
    listed: Any = request.input.example_list
    if "context" in document:
        listed = request.input.example_list_with_context
        listed.context.CopyFrom(_example(document["context"]))
    if "examples" not in document:
        raise predict_json.format_error(
            document, "When method is classify, key 'examples' is expected and was not found"
        )
    values = document["examples"]
    if not isinstance(values, list):
        raise predict_json.format_error(document, "Expecting 'examples' value to be an list/array")
    if not values:
        raise predict_json.format_error(document, "'examples' value is an empty array")
    listed.examples.extend(_example(value) for value in values)


def classification_text(result: Any) -> str:
    """The body for a ClassificationResult: a list of [label, score] pairs for each example."""
    if not result.classifications:
        raise invalid_argument("Cannot convert empty ClassificationResults to JSON")
    rows = []
    for entry in result.classifications:
        scores = json_text.float_texts(np.array([item.score for item in entry.classes], dtype=np.float32))
        pairs = [
            f"[{json_text.quoted(item.label)}, {score}]" for item, score in zip(entry.classes, scores, strict=True)
        ]
        rows.append(f"[{', '.join(pairs)}]")
    return f'{{{json_text.indented(1)}"results": [{", ".join(rows)}{json_text.indented(1)}]{json_text.indented(0)}}}'


def regression_text(result: Any) -> str:
    """The body for a RegressionResult: a number for each example."""
    if not result.regressions:
        raise invalid_argument("Cannot convert empty RegressionResults to JSON")
    numbers = json_text.float_texts(np.array([item.value for item in result.regressions], dtype=np.float32))
    return f'{{{json_text.indented(1)}"results": [{", ".join(numbers)}]{json_text.indented(0)}}}'


def _example(value: Any) -> Any:
    if not isinstance(value, dict):
        raise invalid_argument(f"Example must be JSON object but got JSON {json_text.type_name(value)}")
    example = example_pb2.Example()
    for name, content in json_text.members(value):
        feature = example.features.feature[_utf8(name)]
        feature.Clear()  # of equal keys the last counts
        for item in content if isinstance(content, list) else [content]:
            _add(item, name, feature)
    return example


def _add(value: Any, name: str, feature: Any) -> None:
    kind, converted = _converted(value, name)
    present = feature.WhichOneof("kind")
    if present not in (None, kind):
        raise invalid_argument(f"Unexpected element type in feature: {name} expecting type: {_KINDS[present]}")
    getattr(feature, kind).value.append(converted)


def _converted(value: Any, name: str) -> tuple[str, Any]:
    if isinstance(value, bool):
        return "int64_list", int(value)
    if isinstance(value, str):
        return "bytes_list", json_text.raw(value)
    if json_text.is_base64(value):
        return "bytes_list", json_tensors.decode_base64(value)
    if not isinstance(value, int | float):
        raise invalid_argument(f"Feature: {name} has element with unexpected JSON type: {json_text.type_name(value)}")
    # RapidJSON holds a whole number that no 64-bit integer can hold as a double.
    if isinstance(value, float) or not -_INT64 <= value < _UINT64:
        with np.errstate(over="ignore"):
            return "float_list", float(np.float32(value))
    if value >= _INT64:
        raise invalid_argument(f"Feature: {name} has uint64_t element. Only int64_t is supported.")
    return "int64_list", value


def _utf8(text: str) -> str:
    """Text for a protobuf string field, which must be UTF-8; the parser lets other bytes pass."""
    return json_text.raw(text).decode("utf-8", "replace")
