"""Classify, Regress and MultiInference, over gRPC and REST."""

from typing import Any

import grpc
import pytest

from model_server.protobuf import generated
from tests.conformance.wire import PATIENCE, Target, refused, spec

CODES = grpc.StatusCode
CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


def filled(request: Any, *xs: float) -> Any:
    for x in xs:
        request.input.example_list.examples.add().features.feature["x"].float_list.value.append(x)
    return request


def regression(*xs: float, signature: str = "") -> Any:
    return filled(spec(generated.regression_pb2.RegressionRequest(), "examples", signature), *xs)


def classification(*xs: float, signature: str = "classify") -> Any:
    return filled(spec(generated.classification_pb2.ClassificationRequest(), "examples", signature), *xs)


def inference(*tasks: tuple[str, str, str]) -> Any:
    request = generated.inference_pb2.MultiInferenceRequest()
    for model, signature, method in tasks:
        spec(request.tasks.add(method_name=method), model, signature)
    return filled(request, 2.0)


def test_regress(target: Target) -> None:
    """One value for each example, and who answered."""
    response = target.prediction.Regress(regression(2.0, 4.0), timeout=PATIENCE)
    assert [item.value for item in response.result.regressions] == [3.0, 4.0]
    assert (response.model_spec.name, response.model_spec.version.value) == ("examples", 1)
    assert response.model_spec.signature_name == "serving_default"


def test_classify(target: Target) -> None:
    """Labels with scores for each example, in the order of the model."""
    response = target.prediction.Classify(classification(2.0), timeout=PATIENCE)
    (found,) = response.result.classifications
    assert [(item.label, item.score) for item in found.classes] == [("high", 3.0), ("low", -3.0)]


def test_multi_inference(target: Target) -> None:
    """Several signatures of one model on the same examples, results in the order of the tasks."""
    request = inference(("examples", "classify", CLASSIFY), ("examples", "serving_default", REGRESS))
    first, second = target.prediction.MultiInference(request, timeout=PATIENCE).results
    assert first.classification_result.classifications[0].classes[0].label == "high"
    assert second.regression_result.regressions[0].value == 3.0


@pytest.mark.parametrize(
    ("call", "request_message", "code", "message"),
    [
        ("Regress", regression(), CODES.INVALID_ARGUMENT, "Input is empty."),
        ("Classify", classification(), CODES.INVALID_ARGUMENT, "Input is empty."),
        ("Regress", regression(1.0, signature="S"), CODES.INVALID_ARGUMENT, "No signature was found with the name: S"),
        ("Regress", regression(1.0, signature="two_inputs"), CODES.INVALID_ARGUMENT, "Expected one input Tensor."),
        ("MultiInference", inference(("examples", "classify", CLASSIFY), ("half", "", REGRESS)), CODES.INVALID_ARGUMENT,
         "All ModelSpecs in a MultiInferenceRequest must access the same model name."),
        ("MultiInference", inference(*[("examples", "classify", CLASSIFY)] * 2), CODES.INVALID_ARGUMENT,
         "Duplicate evaluation of signature: classify"),
        ("MultiInference", inference(("examples", "S", CLASSIFY)), CODES.INVALID_ARGUMENT,
         "Requested signature not found in model graph: S"),
        ("MultiInference", inference(("examples", "classify", "M")), CODES.UNIMPLEMENTED,
         "Unsupported signature method_name: M"),
    ],
)  # fmt: skip
def test_what_is_refused(target: Target, call: str, request_message: Any, code: grpc.StatusCode, message: str) -> None:
    """Unsuitable requests and signatures have their code and their words."""
    assert refused(getattr(target.prediction, call), request_message) == (code, message)


def test_inputs_must_have_the_agreed_name(target: Target) -> None:
    """The examples go into an input called `inputs`; another name is no classification or regression."""
    code, message = refused(target.prediction.Regress, regression(1.0, signature="other_input"))
    assert code == CODES.INVALID_ARGUMENT
    assert message.startswith("No regression inputs found in SignatureDef: ")


def test_rest_regress(target: Target) -> None:
    """`examples` in, `results` out: a number for each example."""
    answer = target.post("/v1/models/examples:regress", {"examples": [{"x": 2.0}, {"x": [4.0]}]})
    assert (answer.status, answer.json) == (200, {"results": [3.0, 4.0]})


def test_rest_classify(target: Target) -> None:
    """A list of [label, score] for each example; `context` holds what all examples share."""
    document = {"signature_name": "classify", "context": {"bias": 1.0}, "examples": [{"x": 2.0}]}
    answer = target.post("/v1/models/examples:classify", document)
    assert (answer.status, answer.json) == (200, {"results": [[["high", 4.0], ["low", -4.0]]]})


def test_rest_features_of_mixed_kinds_are_refused(target: Target) -> None:
    """Floats, integers and strings are three kinds of features; one list holds one kind."""
    answer = target.post("/v1/models/examples:regress", {"examples": [{"x": [1.0, "a"]}]})
    assert (answer.status, list(answer.json)) == (400, ["error"])


def test_rest_of_equal_features_the_last_counts(target: Target) -> None:
    """Everywhere else the first of equal keys counts."""
    answer = target.post("/v1/models/examples:regress", '{"examples": [{"x": 2.0, "x": [4.0]}]}')
    assert (answer.status, answer.json) == (200, {"results": [4.0]})
