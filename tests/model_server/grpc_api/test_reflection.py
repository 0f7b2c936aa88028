"""Whatever the server announces it can describe, and it answers each method that it describes."""

import grpc
import pytest

from tests.conformance.reflected import Reflection
from tests.model_server.harness import Server

ANNOUNCED = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1alpha.ServerReflection",
    "tensorflow.ProfilerService",
    "tensorflow.serving.ModelService",
    "tensorflow.serving.PredictionService",
]


def test_every_announced_service_is_described(server: Server) -> None:
    reflection = Reflection(server.channel)
    assert sorted(reflection.services()) == ANNOUNCED
    for service in ANNOUNCED:
        described = reflection.describe(service)
        assert described.full_name == service
        for method in described.methods:
            assert reflection.message(method.input_type.full_name)
            assert reflection.message(method.output_type.full_name)


@pytest.mark.parametrize("service", ["tensorflow.serving.ModelService", "tensorflow.serving.PredictionService"])
def test_every_described_method_is_there(server: Server, service: str) -> None:
    reflection = Reflection(server.channel)
    for method in reflection.describe(service).methods:
        with pytest.raises(grpc.RpcError) as caught:
            reflection.call(service, method.name)
        assert caught.value.code() is not grpc.StatusCode.UNIMPLEMENTED, method.name
