"""A server under test, as a client sees it: two ports. Nothing here knows which server it is.

`protos` are the message classes and stubs that are generated from TensorFlow Serving's own .proto files.
"""

import http.client
import json
from dataclasses import dataclass, field
from typing import Any

import grpc
import ml_dtypes
import numpy as np

from model_server.protobuf import generated

PATIENCE = 60
FLOAT, STRING = 1, 7
#: NumPy's name of a type: TensorFlow's number, and the field of TensorProto that holds its values.
TYPES = {
    "float32": (1, "float_val"), "float64": (2, "double_val"), "int32": (3, "int_val"), "uint8": (4, "int_val"),
    "int16": (5, "int_val"), "int8": (6, "int_val"), "string": (7, "string_val"), "complex64": (8, "scomplex_val"),
    "int64": (9, "int64_val"), "bool": (10, "bool_val"), "bfloat16": (14, "half_val"), "uint16": (17, "int_val"),
    "complex128": (18, "dcomplex_val"), "float16": (19, "half_val"), "uint32": (22, "uint32_val"),
    "uint64": (23, "uint64_val"),
}  # fmt: skip
NUMPY = {
    name: np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else object if name == "string" else name) for name in TYPES
}


@dataclass(frozen=True)
class Answer:
    """An HTTP response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Target:
    """host:port of gRPC and of REST."""

    grpc_address: str
    rest_address: str
    channel: Any = field(init=False)

    def __post_init__(self) -> None:
        unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self.channel = grpc.insecure_channel(self.grpc_address, options=unlimited)

    @property
    def prediction(self) -> Any:
        return generated.prediction_service_pb2_grpc.PredictionServiceStub(self.channel)

    @property
    def models(self) -> Any:
        return generated.model_service_pb2_grpc.ModelServiceStub(self.channel)

    def predict(self, model: str, inputs: dict[str, Any], signature: str = "", **more: Any) -> Any:
        return self.prediction.Predict(predict_request(model, inputs, signature, **more), timeout=PATIENCE)

    def http(
        self, method: str, path: str, body: str | bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection(self.rest_address, timeout=PATIENCE)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def post(self, path: str, document: Any) -> Answer:
        return self.http("POST", path, document if isinstance(document, str | bytes) else json.dumps(document))

    def metrics(self) -> str:
        answer = self.http("GET", "/monitoring/prometheus/metrics")
        assert answer.status == 200
        return answer.body.decode()

    def metric(self, name: str, **labels: str) -> float:
        """The value of one series, 0 where it is not there."""
        wanted = f":tensorflow:serving:{name}{{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "} "
        found = [line[len(wanted) :] for line in self.metrics().splitlines() if line.startswith(wanted)]
        return float(found[0]) if found else 0.0


def refused(call: Any, request: Any) -> tuple[grpc.StatusCode, str]:
    """Code and message of a call that must fail."""
    try:
        call(request, timeout=PATIENCE)
    except grpc.RpcError as error:
        return error.code(), error.details()
    raise AssertionError("the call was answered")


def spec(message: Any, model: str, signature: str = "", version: int | None = None, label: str | None = None) -> Any:
    """Fill a message's model_spec; the message."""
    message.model_spec.name = model
    message.model_spec.signature_name = signature
    if version is not None:
        message.model_spec.version.value = version
    if label is not None:
        message.model_spec.version_label = label
    return message


def predict_request(model: str, inputs: dict[str, Any], signature: str = "", **more: Any) -> Any:
    request = generated.predict_pb2.PredictRequest(output_filter=more.pop("output_filter", ()))
    spec(request, model, signature, **more)
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(value if hasattr(value, "tensor_shape") else fields(value))
    return request


def fields(value: Any, kind: str | None = None) -> Any:
    """A TensorProto with its values in the typed field. A list of Python floats is float32."""
    array = np.asarray(value, None if kind is None else NUMPY[kind])
    kind = kind or {"float64": "float32" if not isinstance(value, np.ndarray) else "float64"}.get(array.dtype.name)
    kind = kind or ("string" if array.dtype.kind in "SUO" else array.dtype.name)
    number, name = TYPES[kind]
    message = shaped(number, array.shape)
    flat = array.reshape(-1)
    if kind in ("float16", "bfloat16"):
        flat = flat.astype(NUMPY[kind]).view(np.uint16)
    if kind.startswith("complex"):
        flat = flat.view(np.float32 if kind == "complex64" else np.float64)
    getattr(message, name).extend(flat.tolist() if kind != "string" else [_bytes(item) for item in flat.tolist()])
    return message


def content(array: Any, kind: str) -> Any:
    """A TensorProto with its values as `tensor_content`."""
    message = shaped(TYPES[kind][0], array.shape)
    message.tensor_content = np.ascontiguousarray(array).tobytes()
    return message


def shaped(number: int, shape: tuple[int, ...]) -> Any:
    message = generated.tensor_pb2.TensorProto(dtype=number)
    for size in shape:
        message.tensor_shape.dim.add(size=size)
    return message


def values(message: Any) -> Any:
    """The array in a TensorProto whose typed field is filled, or whose content is."""
    kind = next(name for name, (number, _) in TYPES.items() if number == message.dtype)
    shape = [dim.size for dim in message.tensor_shape.dim]
    if message.tensor_content:
        return np.frombuffer(message.tensor_content, NUMPY[kind]).reshape(shape)
    items = list(getattr(message, TYPES[kind][1]))
    if kind in ("float16", "bfloat16"):
        return np.array(items, np.uint16).view(NUMPY[kind]).reshape(shape)
    if kind.startswith("complex"):
        return np.array(items, np.float32 if kind == "complex64" else np.float64).view(kind).reshape(shape)
    array = np.empty(len(items), NUMPY[kind])
    array[:] = items
    return array.reshape(shape)


def _bytes(item: Any) -> bytes:
    return item if isinstance(item, bytes) else str(item).encode()
