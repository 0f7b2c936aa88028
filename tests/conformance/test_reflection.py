"""Reflection: a client without .proto files lists, describes and calls the services."""

import pytest

from tests.conformance.reflected import Reflection
from tests.conformance.wire import Target

PREDICTION, MODELS = "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"
METHODS = {
    PREDICTION: {"Predict", "Classify", "Regress", "MultiInference", "GetModelMetadata"},
    MODELS: {"GetModelStatus", "HandleReloadConfigRequest"},
}
FLOAT, AVAILABLE = 1, 30


@pytest.fixture
def reflection(target: Target) -> Reflection:
    return Reflection(target.channel)


@pytest.mark.parametrize("service", [PREDICTION, MODELS])
def test_the_services_are_listed_and_described(reflection: Reflection, service: str) -> None:
    """What is listed can be described: each service with its methods, each method with its messages."""
    assert service in reflection.services()
    described = reflection.describe(service)
    assert METHODS[service] == {method.name for method in described.methods}
    for method in described.methods:
        assert method.input_type.fields, method.full_name
        assert reflection.message(method.output_type.full_name)


def test_predict_through_reflection(reflection: Reflection) -> None:
    """A request that is built from the server's descriptors is answered."""
    shape = {"dim": [{"size": 1}]}
    tensor = {"dtype": FLOAT, "tensor_shape": shape, "float_val": [2.0]}
    answer = reflection.call(PREDICTION, "Predict", model_spec={"name": "half"}, inputs={"x": tensor})
    assert list(answer.outputs["y"].float_val) == [3.0]
    assert answer.model_spec.version.value == 3


def test_metadata_through_reflection(reflection: Reflection) -> None:
    """The signatures come packed in an Any, whose message can be described, too."""
    answer = reflection.call(
        PREDICTION, "GetModelMetadata", model_spec={"name": "half"}, metadata_field=["signature_def"]
    )
    packed = answer.metadata["signature_def"]
    signatures = reflection.message(packed.TypeName()).FromString(packed.value)
    assert "serving_default" in signatures.signature_def


def test_status_through_reflection(reflection: Reflection) -> None:
    """The other service likewise."""
    answer = reflection.call(MODELS, "GetModelStatus", model_spec={"name": "half"})
    assert [status.state for status in answer.model_version_status] == [AVAILABLE, AVAILABLE]
