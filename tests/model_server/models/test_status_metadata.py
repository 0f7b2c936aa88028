"""GetModelStatus, GetModelMetadata and health, over gRPC and REST."""

import json
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from model_server.protobuf import generated
from tests.model_server.harness import Server

AVAILABLE = 30


def status_request(model: str, version: int | None = None) -> object:
    request = generated.get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = model
    if version is not None:
        request.model_spec.version.value = version
    return request


def metadata_request(model: str, *fields: str) -> object:
    request = generated.get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    request.model_spec.name = model
    return request


def test_status_over_grpc(server: Server) -> None:
    (entry,) = server.models.GetModelStatus(status_request("half"), timeout=10).model_version_status
    assert (entry.version, entry.state, entry.status.error_code, entry.status.error_message) == (1, AVAILABLE, 0, "")


def test_status_over_rest_is_the_golden_text(server: Server) -> None:
    expected = """{
 "model_version_status": [
  {
   "version": "1",
   "state": "AVAILABLE",
   "status": {
    "error_code": "OK",
    "error_message": ""
   }
  }
 ]
}
"""
    # A label is ignored by the status call.
    for path in ("/v1/models/half", "/v1/models/half/versions/1", "/v1/models/half/labels/none"):
        answer = server.http("GET", path)
        assert (answer.status, answer.body.decode()) == (200, expected)


@pytest.mark.parametrize(
    ("request_message", "code", "text"),
    [
        (status_request("nope"), grpc.StatusCode.NOT_FOUND, "Could not find any versions of model nope"),
        (status_request("half", 7), grpc.StatusCode.NOT_FOUND, "Could not find version 7 of model half"),
        (generated.get_model_status_pb2.GetModelStatusRequest(), grpc.StatusCode.INVALID_ARGUMENT, "Missing ModelSpec"),
    ],
)
def test_bad_status_requests(server: Server, request_message: object, code: grpc.StatusCode, text: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        server.models.GetModelStatus(request_message, timeout=10)
    assert (caught.value.code(), caught.value.details()) == (code, text)


def test_metadata_over_grpc(server: Server) -> None:
    response = server.prediction.GetModelMetadata(metadata_request("half", "signature_def"), timeout=10)
    assert (response.model_spec.name, response.model_spec.version.value) == ("half", 1)
    assert response.model_spec.signature_name == ""
    signatures = generated.get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert signatures.signature_def["serving_default"].inputs["x"].name == "x:0"


def test_metadata_over_rest_is_the_golden_document(server: Server) -> None:
    def tensor(name: str) -> dict[str, Any]:
        dims = [{"size": "-1", "name": ""}, {"size": "1", "name": ""}]
        return {"dtype": "DT_FLOAT", "tensor_shape": {"dim": dims, "unknown_rank": False}, "name": name}

    expected = {
        "model_spec": {"name": "half", "signature_name": "", "version": "1"},
        "metadata": {
            "signature_def": {
                "signature_def": {
                    "serving_default": {
                        "inputs": {"x": tensor("x:0")},
                        "outputs": {"y": tensor("y:0")},
                        "method_name": "tensorflow/serving/predict",
                        "defaults": {},
                    }
                }
            }
        },
    }
    for path in (
        "/v1/models/half/metadata",
        "/v1/models/half/versions/1/metadata",
        "/v1/models/half/labels/stable/metadata",
    ):
        answer = server.http("GET", path)
        assert answer.status == 200
        assert json.loads(answer.body) == expected


@pytest.mark.parametrize(
    ("request_message", "code", "text"),
    [
        (metadata_request("half"), grpc.StatusCode.INVALID_ARGUMENT,
         "GetModelMetadataRequest must specify at least one metadata_field"),
        (metadata_request("half", "graph"), grpc.StatusCode.INVALID_ARGUMENT, "Metadata field graph is not supported"),
        (metadata_request("nope", "signature_def"), grpc.StatusCode.NOT_FOUND,
         "Servable not found for request: Latest(nope)"),
        (generated.get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"]),
         grpc.StatusCode.INVALID_ARGUMENT, "Missing ModelSpec"),
    ],
)  # fmt: skip
def test_bad_metadata_requests(server: Server, request_message: object, code: grpc.StatusCode, text: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        server.prediction.GetModelMetadata(request_message, timeout=10)
    assert (caught.value.code(), caught.value.details()) == (code, text)


@pytest.mark.parametrize("service", ["", "ModelService", "PredictionService"])
def test_health_is_serving(server: Server, service: str) -> None:
    stub = health_pb2_grpc.HealthStub(server.channel)
    answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_health_of_an_unknown_service_is_not_found(server: Server) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        health_pb2_grpc.HealthStub(server.channel).Check(health_pb2.HealthCheckRequest(service="x"), timeout=10)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
