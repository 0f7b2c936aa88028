"""The JSON forms of Predict: row (`instances` → `predictions`) and columnar (`inputs` → `outputs`)."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from model_server.errors import ServingError, invalid_argument
from model_server.rest import fast_json, json_tensors, json_text
from model_server.tensors import dtypes
from model_server.tensors.host_tensor import HostTensor

_BYTES_SUFFIX = "_bytes"
_Inputs = Mapping[str, Any]  # alias -> TensorInfo
_InputsOf = Callable[[str], _Inputs]


@dataclass(frozen=True, slots=True)
class PredictBody:
    """A parsed request: the requested signature ("" is the default one), its form and its tensors by alias."""

    signature_name: str
    row_format: bool
    tensors: dict[str, HostTensor]


def parse_predict(body: bytes, inputs_of: _InputsOf) -> PredictBody:
    """Parse a request body. `inputs_of` gives the inputs of a signature, or raises ServingError."""
    document = fast_json.parse(body)
    if document is not None:
        with suppress(ServingError):
            return _predict_body(document, inputs_of)
    return _predict_body(json_text.parse(body), inputs_of)


def predict_text(outputs: Mapping[str, HostTensor], *, row_format: bool) -> str:
    """The response body."""
    if not outputs:
        raise invalid_argument("Cannot convert empty tensor map to JSON")
    return _rows_text(outputs) if row_format else _columns_text(outputs)


def error_text(message: str) -> str:
    """The body of a failed request."""
    return f'{{{json_text.indented(1)}"error": {json_text.quoted(message)}{json_text.indented(0)}}}'


def _predict_body(document: dict[str, Any], inputs_of: _InputsOf) -> PredictBody:
    signature_name = document.get("signature_name", "")
    if not isinstance(signature_name, str):
        raise format_error(document, "not formatted correctly. 'signature_name' key must be a string value.")
    inputs = inputs_of(signature_name)
    if not inputs:
        raise invalid_argument(f"Failed to get input map for signature: {signature_name or 'DEFAULT'}")
    if "instances" in document:
        if "inputs" in document:
            raise format_error(
                document, "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
            )
        instances = document["instances"]
        if not isinstance(instances, list):
            raise format_error(document, "Expecting 'instances' to be an list/array")
        if not instances:
            raise format_error(document, "No values in 'instances' array")
        return PredictBody(signature_name, row_format=True, tensors=_from_rows(instances, inputs))
    if "inputs" in document:
        return PredictBody(signature_name, row_format=False, tensors=_from_columns(document["inputs"], inputs))
    raise invalid_argument("Missing 'inputs' or 'instances' key")


def _from_rows(rows: list[Any], inputs: _Inputs) -> dict[str, HostTensor]:
    first = rows[0]
    if not isinstance(first, dict) and len(inputs) > 1:
        raise invalid_argument(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    collected: dict[str, _Column] = {}
    if _is_object(first):
        known = dict(inputs)  # a map of protobuf cannot look up a name that is not UTF-8
        for position, row in enumerate(rows):
            _add_object(row, position, known, collected)
    else:
        alias = next(iter(inputs))
        column = collected[alias] = _Column(inputs[alias].dtype)
        for position, row in enumerate(rows):
            if _is_object(row):
                raise invalid_argument(f"Expecting value/list but got object at item {position} of input list")
            try:
                column.add(row)
            except ServingError as error:
                raise invalid_argument(
                    f"Failed to process element: {position} of 'instances' list. Error: {error}"
                ) from error
    return {alias: column.tensor(len(rows)) for alias, column in collected.items()}


def _add_object(row: Any, position: int, inputs: _Inputs, collected: "dict[str, _Column]") -> None:
    if not _is_object(row):
        raise invalid_argument(f"Expecting object but got list at item {position} of input list")
    for alias, value in row.items():
        try:
            if alias not in inputs:
                raise invalid_argument(f"JSON object: does not have named input: {alias}")
            collected.setdefault(alias, _Column(inputs[alias].dtype)).add(value)
        except ServingError as error:
            raise invalid_argument(
                f"Failed to process element: {position} key: {alias} of 'instances' list. Error: {error}"
            ) from error
    if set(row) != set(inputs):
        raise invalid_argument(
            f"Failed to process element: {position} of 'instances' list. JSON object: {json_text.debug_string(row)} "
            f"keys must be equal to: {','.join(sorted(inputs))}"
        )


class _Column:
    """The values of one input over all rows, which must all have one shape."""

    def __init__(self, dtype: int) -> None:
        self._dtype = dtype
        self._flat: list[Any] = []
        self._shape: tuple[int, ...] | None = None
        self._size = 0

    def add(self, value: Any) -> None:
        flat, shape = json_tensors.leaves(value, self._dtype)
        if self._shape is None:
            self._shape, self._size = shape, len(flat)
        elif len(flat) != self._size:
            raise invalid_argument(f"Expecting tensor size: {self._size} but got: {len(flat)}")
        elif shape != self._shape:
            raise invalid_argument(f"Expecting shape {_shape_text(self._shape)} but got: {_shape_text(shape)}")
        self._flat.extend(flat)

    def tensor(self, rows: int) -> HostTensor:
        return json_tensors.to_tensor(self._flat, (rows, *(self._shape or ())), self._dtype)


def _from_columns(value: Any, inputs: _Inputs) -> dict[str, HostTensor]:
    if not _is_object(value):
        if len(inputs) > 1:
            raise invalid_argument(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        value = {next(iter(inputs)): value}
    found = {}
    for alias in sorted(inputs):
        if alias not in value:
            raise invalid_argument(f"Missing named input: {alias} in 'inputs' object.")
        flat, shape = json_tensors.leaves(value[alias], inputs[alias].dtype)
        found[alias] = json_tensors.to_tensor(flat, shape, inputs[alias].dtype)
    return found


def _rows_text(outputs: Mapping[str, HostTensor]) -> str:
    rows = -1
    for alias, tensor in outputs.items():
        if tensor.array.ndim == 0:
            raise invalid_argument(f"Tensor name: {alias} has no shape information ")
        size = tensor.array.shape[0]
        if rows not in (-1, size):
            raise invalid_argument(f"Tensor name: {alias} has inconsistent batch size: {size} expecting: {rows}")
        rows = size
    if len(outputs) == 1:
        ((alias, tensor),) = outputs.items()
        body = ", ".join(_row_texts(alias, tensor, rows, 2))
        opening = "["
    else:
        columns = [[f"{json_text.quoted(a)}: {text}" for text in _row_texts(a, t, rows, 3)] for a, t in outputs.items()]
        members = [("," + json_text.indented(3)).join(members) for members in zip(*columns, strict=True)]
        rows_text = ["{" + json_text.indented(3) + text + json_text.indented(2) + "}" for text in members]
        body = ("," + json_text.indented(2)).join(rows_text)
        opening = "[" + json_text.indented(2)
    array = f"{opening}{body}{json_text.indented(1)}]" if rows else "[]"
    return f'{{{json_text.indented(1)}"predictions": {array}{json_text.indented(0)}}}'


def _row_texts(alias: str, tensor: HostTensor, rows: int, level: int) -> list[str]:
    """The text of each row; `level` is the depth at which it stands."""
    shape = tensor.array.shape[1:]
    tokens = json_tensors.tokens(tensor, level + len(shape), as_bytes=_as_bytes(alias, tensor))
    size = len(tokens) // rows if rows else 0
    return [
        json_text.array_text(tokens[row * size : (row + 1) * size], shape, level, single_line=True)
        for row in range(rows)
    ]


def _columns_text(outputs: Mapping[str, HostTensor]) -> str:
    if len(outputs) == 1:
        ((alias, tensor),) = outputs.items()
        value = _column_text(alias, tensor, 1)
    else:
        members = [f"{json_text.quoted(alias)}: {_column_text(alias, tensor, 2)}" for alias, tensor in outputs.items()]
        value = "{" + json_text.indented(2) + ("," + json_text.indented(2)).join(members) + json_text.indented(1) + "}"
    return f'{{{json_text.indented(1)}"outputs": {value}{json_text.indented(0)}}}'


def _column_text(alias: str, tensor: HostTensor, level: int) -> str:
    shape = tensor.array.shape
    tokens = json_tensors.tokens(tensor, level + len(shape), as_bytes=_as_bytes(alias, tensor))
    return json_text.array_text(tokens, shape, level, single_line=False)


def _as_bytes(alias: str, tensor: HostTensor) -> bool:
    return tensor.dtype == dtypes.STRING and alias.endswith(_BYTES_SUFFIX)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not json_text.is_base64(value)


def _shape_text(shape: tuple[int, ...]) -> str:
    return "[" + ",".join(map(str, shape)) + "]"


def format_error(document: Any, text: str) -> ServingError:
    """A body that is JSON, but not a request; the message shows its beginning."""
    return invalid_argument(f"JSON Value: {json_text.debug_string(document)} {text}")
