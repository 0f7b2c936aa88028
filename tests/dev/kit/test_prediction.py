"""The small client: tensors there and back, and requests to a real gRPC server."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import numpy as np
import pytest

from dev.errors import DevError
from dev.kit import prediction
from dev.kit.serving_messages import predict_pb2, tensor_pb2, types_pb2


@pytest.mark.parametrize("kind", ["float32", "float64", "int32", "int64", "bool"])
def test_arrays_survive_the_way_there_and_back(kind: str) -> None:
    values = np.arange(6).reshape(2, 3).astype(kind)
    back = prediction.from_tensor(prediction.to_tensor(values))
    assert back.dtype == values.dtype
    assert back.tolist() == values.tolist()


def test_typed_fields_are_read_as_servers_write_them() -> None:
    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, float_val=[1.5, 2.5])
    tensor.tensor_shape.dim.add(size=2)
    assert prediction.from_tensor(tensor).tolist() == [1.5, 2.5]


def test_one_value_may_stand_for_all() -> None:
    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_INT64, int64_val=[7])
    tensor.tensor_shape.dim.add(size=3)
    assert prediction.from_tensor(tensor).tolist() == [7, 7, 7]


def test_types_that_are_not_spoken_are_named() -> None:
    with pytest.raises(DevError, match="complex64"):
        prediction.to_tensor(np.zeros(1, np.complex64))
    with pytest.raises(DevError, match="DT_STRING"):
        prediction.from_tensor(tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING))


class Doubler(grpc.GenericRpcHandler):
    """Answers Predict with y = 2 x, and counts the calls."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        assert details.method == "/tensorflow.serving.PredictionService/Predict"

        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            x = prediction.from_tensor(request.inputs["x"])
            if request.model_spec.name != "double":
                context.abort(grpc.StatusCode.NOT_FOUND, "Servable not found for request")
            self.sizes.append(len(x))
            response = predict_pb2.PredictResponse()
            response.outputs["y"].CopyFrom(prediction.to_tensor(2 * x))
            return response

        return grpc.unary_unary_rpc_method_handler(
            answer, predict_pb2.PredictRequest.FromString, predict_pb2.PredictResponse.SerializeToString
        )


@pytest.fixture
def served() -> Iterator[tuple[Doubler, str]]:
    handler = Doubler()
    server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[handler])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield handler, f"127.0.0.1:{port}"
    server.stop(0).wait()


def test_every_example_is_asked_once_in_order(served: tuple[Doubler, str]) -> None:
    handler, target = served
    values = np.arange(10, dtype=np.float32)
    with prediction.connect(target) as predictor:
        measured = prediction.predict_all(predictor, "double", {"x": values}, 4)
    assert measured.answers["y"].tolist() == (2 * values).tolist()
    assert handler.sizes == [4, 4, 4, 2]
    assert len(measured.seconds) == 3
    assert 0 < measured.percentile(50) <= measured.percentile(99)


def test_the_servers_own_words_come_through(served: tuple[Doubler, str]) -> None:
    with prediction.connect(served[1]) as predictor, pytest.raises(grpc.RpcError) as refusal:
        predictor.predict("other", {"x": np.zeros(1, np.float32)})
    assert refusal.value.code() is grpc.StatusCode.NOT_FOUND
    assert "Servable not found" in str(refusal.value.details())


def test_nobody_there_is_said_in_words() -> None:
    with pytest.raises(DevError, match="cannot be reached"):
        prediction.http("http://127.0.0.1:9/", seconds=2)


def test_stubs_leave_tensorflow_as_it_was() -> None:
    code = "import dev.kit.serving_messages, sys; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
