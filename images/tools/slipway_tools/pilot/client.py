"""Asks the server beside the pilot: GetModelMetadata and Predict, over one gRPC channel on localhost.

What goes wrong is one of four things, because each is treated differently: the server is not there (Gone), does not answer
in time (Silent), says that it has too much to do (Busy), or answers with an error (Refused).
"""

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2

from slipway_tools.pilot import tensors

_SERVICE = "/tensorflow.serving.PredictionService"
_METADATA_FIELD = "signature_def"
_THERE_SECONDS = 10.0
_CONNECT_SECONDS = 5.0
# Of this side's own limit, which has the same status as an overloaded server.
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


class AskError(Exception):
    """The server gave no answer to compare."""


class GoneError(AskError):
    """Nothing listens, or the connection broke."""


class SilentError(AskError):
    """No answer of any kind in time."""


class BusyError(AskError):
    """The server says that it is overloaded: it lives."""


class RefusedError(AskError):
    """The server answered with an error: `code` (as in grpc.StatusCode) and its own words."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(f"{code}: {words}")
        self.code = code
        self.words = words


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a signature: dtype by its name, sizes (-1 unknown), None for an unknown rank."""

    dtype: str
    shape: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Signature:
    """What the model says of one signature."""

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]


@dataclass(frozen=True, slots=True)
class Request:
    """One Predict request, encoded once and asked many times."""

    message: Any
    start: int
    count: int


class Client:
    """Speaks to one model of one server."""

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
        """Tell whether the port is open: asked first, because a channel that was refused waits before it tries again."""
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
            AskError: see the module.
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
            message.inputs[name].CopyFrom(tensors.to_proto(array, dtypes[name]))
        return Request(message, start, len(next(iter(inputs.values()))))

    def predict(self, request: Request, timeout: float) -> dict[str, Any]:
        """Return the TensorProtos of the answer by output name; see `tensors.from_proto`.

        Raises:
            AskError: see the module.
        """
        try:
            return dict(_call(self._predict, request.message, timeout).outputs)
        except GoneError as error:
            if self._there():
                raise BusyError(str(error)) from None
            raise

    def _there(self) -> bool:
        """Tell a full queue from a missing server: both are UNAVAILABLE, but metadata is told without any queue."""
        try:
            self.signatures(_THERE_SECONDS)
        except (GoneError, SilentError):
            return False
        except AskError:
            return True
        return True


def _call(method: Any, request: Any, timeout: float) -> Any:
    try:
        return method(request, timeout=timeout)
    except grpc.RpcError as error:
        raise _sorted_out(error) from None


def _sorted_out(error: Any) -> AskError:
    """Tell the four kinds apart."""
    code, words = error.code(), " ".join(str(error.details()).split())
    status = grpc.StatusCode
    if code is status.DEADLINE_EXCEEDED:
        return SilentError("no answer in time")
    if code in {status.UNAVAILABLE, status.CANCELLED}:
        return GoneError(words)
    if code is status.RESOURCE_EXHAUSTED and _TOO_LARGE not in words:
        return BusyError(words)
    return RefusedError(code.name, words)


def signatures_of(definitions: Mapping[str, Any]) -> dict[str, Signature]:
    """Return what SignatureDefs by name say, TensorFlow's own ones left out."""
    return {
        name: Signature(_specs(definition.inputs), _specs(definition.outputs))
        for name, definition in definitions.items()
        if not name.startswith("__saved_model_")
    }


def _specs(infos: Mapping[str, Any]) -> dict[str, TensorSpec]:
    return {
        name: TensorSpec(
            tensors.name_of(info.dtype),
            None if info.tensor_shape.unknown_rank else tuple(dim.size for dim in info.tensor_shape.dim),
        )
        for name, info in sorted(infos.items())
    }
