"""Client of the model server in the same pod: GetModelMetadata and Predict, over one gRPC channel on localhost.

Failures are of four kinds, since the prober treats each differently: the server is unreachable, exceeds the deadline,
says that it is overloaded, or answers with an error status.
"""

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2

from slipway_tools.prober import tensor_proto

_SERVICE = "/tensorflow.serving.PredictionService"
_METADATA_FIELD = "signature_def"
_REACHABLE_SECONDS = 10.0
_CONNECT_SECONDS = 5.0
# In the message of this side's own size limit, which has the same status as an overloaded server.
_TOO_LARGE = "larger than max"
_MAX_ANSWER_BYTES = 256 << 20
_OPTIONS = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", _MAX_ANSWER_BYTES),
    ("grpc.enable_http_proxy", 0),
]
Array = np.ndarray[Any, Any]


class RequestError(Exception):
    """A request without an answer to compare."""


class UnreachableError(RequestError):
    """Nothing listens, or the connection broke."""


class DeadlineExceededError(RequestError):
    """No answer of any kind in time."""


class OverloadedError(RequestError):
    """The server says that it is overloaded, so it is alive."""


class StatusError(RequestError):
    """The server answered with an error: `code` is a name of grpc.StatusCode, `details` the server's text."""

    def __init__(self, code: str, details: str) -> None:
        super().__init__(f"{code}: {details}")
        self.code = code
        self.details = details


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a signature: name of the dtype; sizes (-1: unknown), or None for an unknown rank."""

    dtype: str
    shape: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Signature:
    """Inputs and outputs of one signature of the model."""

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]


@dataclass(frozen=True, slots=True)
class Request:
    """One encoded Predict request, for `count` examples from `start` on."""

    message: Any
    start: int
    count: int


class ServingClient:
    """Sends requests to one model of one server."""

    def __init__(self, server: str, model: str) -> None:
        self._model = model
        self._address = server.rpartition(":")
        self._channel = grpc.insecure_channel(server, options=_OPTIONS)
        self._metadata = self._channel.unary_unary(
            f"{_SERVICE}/GetModelMetadata",
            request_serializer=get_model_metadata_pb2.GetModelMetadataRequest.SerializeToString,
            response_deserializer=get_model_metadata_pb2.GetModelMetadataResponse.FromString,
        )
        self._predict = self._channel.unary_unary(
            f"{_SERVICE}/Predict",
            request_serializer=predict_pb2.PredictRequest.SerializeToString,
            response_deserializer=predict_pb2.PredictResponse.FromString,
        )

    def listening(self) -> bool:
        """Return whether the port is open. Call this first: a refused channel waits before it connects again."""
        host, _, port = self._address
        try:
            socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
        except OSError:
            return False
        return True

    def signatures(self, timeout: float) -> dict[str, Signature]:
        """Return the model's signatures by name.

        Args:
            timeout: seconds.

        Raises:
            RequestError: see the module.
        """
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=[_METADATA_FIELD])
        request.model_spec.name = self._model
        answer = _call(self._metadata, request, timeout)
        found = get_model_metadata_pb2.SignatureDefMap()
        answer.metadata[_METADATA_FIELD].Unpack(found)
        return signatures_of(found.signature_def)

    def request(
        self, signature: str, inputs: Mapping[str, Array], dtypes: Mapping[str, str], outputs: Sequence[str], start: int
    ) -> Request:
        """Encode a request for the rows `inputs`, which are the examples from `start` on, and for `outputs` only."""
        message = predict_pb2.PredictRequest(output_filter=sorted(outputs))
        message.model_spec.name = self._model
        message.model_spec.signature_name = signature
        for name, array in inputs.items():
            message.inputs[name].CopyFrom(tensor_proto.to_proto(array, dtypes[name]))
        return Request(message, start, len(next(iter(inputs.values()))))

    def predict(self, request: Request, timeout: float) -> dict[str, Any]:
        """Return the TensorProtos of the answer by output name; see `tensor_proto.from_proto`.

        Raises:
            RequestError: see the module.
        """
        try:
            return dict(_call(self._predict, request.message, timeout).outputs)
        except UnreachableError as error:
            if self._reachable():
                raise OverloadedError(str(error)) from None
            raise

    def _reachable(self) -> bool:
        """Return False for a missing server, True for a full queue: both are UNAVAILABLE, but metadata passes no queue."""
        try:
            self.signatures(_REACHABLE_SECONDS)
        except (UnreachableError, DeadlineExceededError):
            return False
        except RequestError:
            return True
        return True


def _call(method: Any, request: Any, timeout: float) -> Any:
    try:
        return method(request, timeout=timeout)
    except grpc.RpcError as error:
        raise _classified(error) from None


def _classified(error: Any) -> RequestError:
    """Return the error of one of the four kinds."""
    code, details = error.code(), " ".join(str(error.details()).split())
    status = grpc.StatusCode
    if code is status.DEADLINE_EXCEEDED:
        return DeadlineExceededError("no answer in time")
    if code in {status.UNAVAILABLE, status.CANCELLED}:
        return UnreachableError(details)
    if code is status.RESOURCE_EXHAUSTED and _TOO_LARGE not in details:
        return OverloadedError(details)
    return StatusError(code.name, details)


def signatures_of(definitions: Mapping[str, Any]) -> dict[str, Signature]:
    """Return the signatures in SignatureDefs by name, without TensorFlow's own."""
    return {
        name: Signature(_specs(definition.inputs), _specs(definition.outputs))
        for name, definition in definitions.items()
        if not name.startswith("__saved_model_")
    }


def _specs(infos: Mapping[str, Any]) -> dict[str, TensorSpec]:
    return {
        name: TensorSpec(
            tensor_proto.name_of(info.dtype),
            None if info.tensor_shape.unknown_rank else tuple(dim.size for dim in info.tensor_shape.dim),
        )
        for name, info in sorted(infos.items())
    }
