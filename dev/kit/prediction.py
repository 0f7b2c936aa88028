"""A client of a served model: Predict over gRPC, predict and metrics over HTTP."""

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

# The client starts kubectl while channels are open; gRPC's fork handlers would only print that they stood aside.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

import grpc
import numpy as np
from numpy.typing import NDArray

from dev.errors import DevError
from dev.kit.serving_messages import predict_pb2, tensor_pb2, types_pb2

Array = NDArray[Any]
Tensors = Mapping[str, Array]

_PREDICT = "/tensorflow.serving.PredictionService/Predict"
_TYPES = {
    "float32": (types_pb2.DT_FLOAT, "float_val"),
    "float64": (types_pb2.DT_DOUBLE, "double_val"),
    "int32": (types_pb2.DT_INT32, "int_val"),
    "int64": (types_pb2.DT_INT64, "int64_val"),
    "bool": (types_pb2.DT_BOOL, "bool_val"),
}
_BY_ENUM = {enum: (np.dtype(name), field) for name, (enum, field) in _TYPES.items()}


def to_tensor(values: Array) -> Any:
    """Return a TensorProto of an array.

    Raises:
        DevError: its type is none that this client speaks.
    """
    if values.dtype.name not in _TYPES:
        raise DevError(f"arrays of {values.dtype.name} cannot be sent: use one of {', '.join(_TYPES)}")
    tensor = tensor_pb2.TensorProto(dtype=_TYPES[values.dtype.name][0], tensor_content=values.tobytes())
    for size in values.shape:
        tensor.tensor_shape.dim.add(size=size)
    return tensor


def from_tensor(tensor: Any) -> Array:
    """Return the array in a TensorProto, whether it carries bytes or typed values (one value may stand for all)."""
    if tensor.dtype not in _BY_ENUM:
        raise DevError(f"the answer has tensors of type {types_pb2.DataType.Name(tensor.dtype)}, unknown here")
    dtype, field = _BY_ENUM[tensor.dtype]
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.tensor_content:
        return np.frombuffer(tensor.tensor_content, dtype).reshape(shape)
    values = np.array(getattr(tensor, field), dtype)
    return np.broadcast_to(values, shape) if values.size == 1 else values.reshape(shape)


@dataclass(frozen=True)
class Predictor:
    """Predict over one gRPC channel."""

    channel: Any

    def predict(
        self, model: str, inputs: Tensors, seconds: float = 10, *, wait_for_ready: bool = True, signature: str = ""
    ) -> dict[str, Array]:
        """Return the named outputs for the named inputs; raise grpc.RpcError with the server's code and words.

        Without a signature the server uses `serving_default`.
        """
        request = predict_pb2.PredictRequest()
        request.model_spec.name = model
        request.model_spec.signature_name = signature
        for name, values in inputs.items():
            request.inputs[name].CopyFrom(to_tensor(values))
        call = self.channel.unary_unary(
            _PREDICT,
            request_serializer=predict_pb2.PredictRequest.SerializeToString,
            response_deserializer=predict_pb2.PredictResponse.FromString,
        )
        answer = call(request, timeout=seconds, wait_for_ready=wait_for_ready)
        return {name: from_tensor(tensor) for name, tensor in answer.outputs.items()}


@contextmanager
def connect(target: str) -> Iterator[Predictor]:
    """Open a channel of its own (no connection is shared with other channels) to `HOST:PORT`."""
    with grpc.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        yield Predictor(channel)


def http(url: str, body: Mapping[str, Any] | None = None, seconds: float = 10) -> str:
    """GET a URL, or POST a JSON body to it; return the text of the answer.

    Raises:
        DevError: with the status and what the server said.
    """
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310  http, by the caller
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:  # noqa: S310
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        said = error.read().decode(errors="replace").strip()
        raise DevError(f"{url} answered {error.code}: {said or error.reason}") from None
    except OSError as error:
        raise DevError(f"{url} cannot be reached: {error}") from None


def rest_digits(url: str, images: Array) -> Array:
    """Return the digits that the REST API reads in the images, in one call."""
    answer = json.loads(http(url, {"instances": images.tolist()}))
    return np.array([row["digit"] for row in answer["predictions"]])


@dataclass(frozen=True)
class Measured:
    """Answers to a series of calls, and how long each call took, in seconds."""

    answers: Tensors
    seconds: Sequence[float]

    def percentile(self, percent: float) -> float:
        """Return the latency that this share of the calls did not exceed, in milliseconds."""
        return float(np.percentile(self.seconds, percent) * 1000)


def predict_all(predictor: Predictor, model: str, inputs: Tensors, batch: int) -> Measured:
    """Send all examples in calls of `batch` examples; the first call is made twice and timed once (it connects)."""
    count = len(next(iter(inputs.values())))
    parts, times = list[dict[str, Array]](), list[float]()
    predictor.predict(model, {name: values[:batch] for name, values in inputs.items()})
    for start in range(0, count, batch):
        part = {name: values[start : start + batch] for name, values in inputs.items()}
        began = time.perf_counter()
        parts.append(predictor.predict(model, part))
        times.append(time.perf_counter() - began)
    return Measured({name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, times)
