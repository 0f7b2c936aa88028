"""GetModelStatus, GetModelMetadata, reload and health."""

import json
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from model_server.protobuf import generated
from tests.conformance.wire import PATIENCE, Target, refused, spec

CODES = grpc.StatusCode
AVAILABLE = 30
GOLDEN = Path(__file__).parent / "golden"


def status(model: str, **choice: Any) -> Any:
    return spec(generated.get_model_status_pb2.GetModelStatusRequest(), model, **choice)


def metadata(model: str, *fields: str, **choice: Any) -> Any:
    return spec(generated.get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields), model, **choice)


def test_status_lists_versions_from_the_highest(target: Target) -> None:
    """Every requested version, highest first, with its state and error."""
    found = target.models.GetModelStatus(status("half"), timeout=PATIENCE).model_version_status
    assert [(item.version, item.state, item.status.error_code) for item in found] == [
        (3, AVAILABLE, 0),
        (1, AVAILABLE, 0),
    ]
    (one,) = target.models.GetModelStatus(status("half", version=1), timeout=PATIENCE).model_version_status
    assert one.version == 1


@pytest.mark.parametrize("path", ["/v1/models/half", "/v1/models/half/labels/none"])
def test_status_over_rest(target: Target, path: str) -> None:
    """Versions as strings, state and error code by name; a label is ignored."""
    answer = target.http("GET", path)
    assert answer.status == 200
    assert answer.json == json.loads((GOLDEN / "status.json").read_text())


def test_metadata_over_rest(target: Target) -> None:
    """Names as in the .proto, fields with default values printed too, the signature map nested twice."""
    answer = target.http("GET", "/v1/models/half/labels/stable/metadata")
    assert answer.status == 200
    assert answer.json == json.loads((GOLDEN / "metadata.json").read_text())


def test_metadata_over_grpc(target: Target) -> None:
    """The signatures come packed; the response names no signature of its own."""
    response = target.prediction.GetModelMetadata(metadata("half", "signature_def"), timeout=PATIENCE)
    assert (response.model_spec.name, response.model_spec.version.value) == ("half", 3)
    assert response.model_spec.signature_name == ""
    signatures = generated.get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert signatures.signature_def["serving_default"].outputs["y"].name == "y:0"


@pytest.mark.parametrize(
    ("service", "call", "request_message", "code", "message"),
    [
        ("models", "GetModelStatus", status("nope"), CODES.NOT_FOUND, "Could not find any versions of model nope"),
        ("models", "GetModelStatus", status("half", version=7), CODES.NOT_FOUND,
         "Could not find version 7 of model half"),
        ("prediction", "GetModelMetadata", metadata("half"), CODES.INVALID_ARGUMENT,
         "GetModelMetadataRequest must specify at least one metadata_field"),
        ("prediction", "GetModelMetadata", metadata("half", "graph"), CODES.INVALID_ARGUMENT,
         "Metadata field graph is not supported"),
        ("prediction", "GetModelMetadata", metadata("nope", "signature_def"), CODES.NOT_FOUND,
         "Servable not found for request: Latest(nope)"),
    ],
)  # fmt: skip
def test_what_is_refused(
    target: Target, service: str, call: str, request_message: Any, code: grpc.StatusCode, message: str
) -> None:
    """Unknown models, versions and fields have their code and their words."""
    assert refused(getattr(getattr(target, service), call), request_message) == (code, message)


def reload_request(text: str = "") -> Any:
    from google.protobuf import text_format  # noqa: PLC0415

    request = generated._load("tensorflow_serving.apis.model_management_pb2").ReloadConfigRequest()
    return text_format.Parse(text, request)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ("ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently "
              "supported")),
        ("config { model_config_list { " + 2 * 'config { name: "a" base_path: "/a" model_platform: "tensorflow" } ' + "} }",
         "Illegal to list model a multiple times in config list"),
        ('config { model_config_list { config { name: "a" base_path: "p" model_platform: "tensorflow" } } }',
         "Expected model a to have an absolute path or URI; got base_path()=p"),
    ],
)  # fmt: skip
def test_a_bad_reload_changes_nothing(target: Target, text: str, message: str) -> None:
    """A configuration that cannot be is refused as a whole, before any model is touched."""
    code, said = refused(target.models.HandleReloadConfigRequest, reload_request(text))
    assert (code, said) == (CODES.INVALID_ARGUMENT, message)
    assert target.http("GET", "/v1/models/half").status == 200


@pytest.mark.parametrize("service", ["", "ModelService", "PredictionService"])
def test_health(target: Target, service: str) -> None:
    """With the flag: SERVING for the whole server and for both services, under their short names."""
    answer = health_pb2_grpc.HealthStub(target.channel).Check(
        health_pb2.HealthCheckRequest(service=service), timeout=PATIENCE
    )
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
