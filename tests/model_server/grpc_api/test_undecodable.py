"""Calls that are no message of their type: refused in grpc's words by every method, and nothing of them is kept."""

import gc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from grpc._server import _RPCState  # what grpc keeps of a call

from model_server.grpc_api.undecodable import DETAILS, Refusal
from tests.model_server.harness import Server, array_of

CODES = grpc.StatusCode
METHODS = [
    "/tensorflow.serving.PredictionService/Predict",
    "/tensorflow.serving.PredictionService/Classify",
    "/tensorflow.serving.PredictionService/Regress",
    "/tensorflow.serving.PredictionService/MultiInference",
    "/tensorflow.serving.PredictionService/GetModelMetadata",
    "/tensorflow.serving.ModelService/GetModelStatus",
    "/tensorflow.serving.ModelService/HandleReloadConfigRequest",
    "/grpc.health.v1.Health/Check",
]


@pytest.mark.parametrize("method", METHODS)
def test_what_is_no_message_is_refused_by_every_method(server: Server, method: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        server.channel.unary_unary(method)(b"\xff\xff nonsense", timeout=30)
    assert (caught.value.code(), caught.value.details()) == (CODES.INTERNAL, DETAILS)
    assert array_of(server.predict("half", {"x": [[2.0]]}).outputs["y"]).tolist() == [[3.0]]


def test_a_stream_of_answers_is_refused_too(server: Server) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        list(server.channel.unary_stream("/grpc.health.v1.Health/Watch")(b"\xff\xff nonsense", timeout=30))
    assert (caught.value.code(), caught.value.details()) == (CODES.INTERNAL, DETAILS)


def fails(_: bytes) -> Any:
    raise ValueError


def kept() -> int:
    gc.collect()
    return sum(isinstance(found, _RPCState) for found in gc.get_objects())


def test_nothing_of_them_is_kept() -> None:
    before = kept()
    method = grpc.unary_unary_rpc_method_handler(lambda request, _: request, request_deserializer=fails)
    server = grpc.server(ThreadPoolExecutor(4), interceptors=[Refusal()])
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Service", {"Method": method})])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    codes = set()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        for _ in range(100):
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary("/test.Service/Method")(b"x", timeout=30)
            codes.add(caught.value.code())
    assert server.stop(0).wait(30)
    assert codes == {CODES.INTERNAL}
    assert kept() - before < 10, "grpc's own server keeps all hundred"
