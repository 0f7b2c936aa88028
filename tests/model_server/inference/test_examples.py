"""Classify, Regress and MultiInference over gRPC: results, and every refusal with its code and words."""

from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_server.protobuf import generated
from tests.model_server.harness import Server, serving
from tests.model_server.test_metrics import value
from tests.model_server.test_start import ONCE

CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


def example(**features: Any) -> Any:
    message = generated.example_pb2.Example()
    for name, content in features.items():
        feature = message.features.feature[name]
        values = content if isinstance(content, list) else [content]
        kind = {float: "float_list", int: "int64_list", bytes: "bytes_list"}[type(values[0])]
        getattr(feature, kind).value.extend(values)
    return message


def filled(request: Any, examples: list[Any], context: Any = None) -> Any:
    if context is None:
        request.input.example_list.examples.extend(examples)
    else:
        request.input.example_list_with_context.examples.extend(examples)
        request.input.example_list_with_context.context.CopyFrom(context)
    return request


def regression(xs: list[float], signature: str = "", context: Any = None, model: str = "examples") -> Any:
    request = generated.regression_pb2.RegressionRequest(model_spec={"name": model, "signature_name": signature})
    return filled(request, [example(x=x) for x in xs], context)


def classification(xs: list[float], signature: str = "classify") -> Any:
    request = generated.classification_pb2.ClassificationRequest(
        model_spec={"name": "examples", "signature_name": signature}
    )
    return filled(request, [example(x=x) for x in xs])


def inference(*tasks: tuple[str, str], xs: tuple[float, ...] = (2.0,), model: str = "examples") -> Any:
    request = generated.inference_pb2.MultiInferenceRequest()
    for signature, method in tasks:
        request.tasks.add(model_spec={"name": model, "signature_name": signature}, method_name=method)
    return filled(request, [example(x=x) for x in xs])


def refused(call: Any, request: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=30)
    return caught.value.code(), caught.value.details()


def numbers(response: Any) -> list[float]:
    return [item.value for item in response.result.regressions]


@pytest.mark.parametrize("signature", ["", "serving_default", "flat", "by_name"])
def test_regress(server: Server, signature: str) -> None:
    response = server.prediction.Regress(regression([2.0, 4.0], signature), timeout=30)
    assert numbers(response) == [3.0, 4.0]
    spec = response.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("examples", 1, signature or "serving_default")


def test_a_context_is_shared_and_an_example_overrides_it(server: Server) -> None:
    context = example(bias=10.0, x=100.0)
    assert numbers(server.prediction.Regress(regression([2.0, 4.0], context=context), timeout=30)) == [13.0, 14.0]
    request = filled(regression([], context=context), [example(bias=1.0)], context)
    assert numbers(server.prediction.Regress(request, timeout=30)) == [53.0]


def test_classify_with_labels_and_scores(server: Server) -> None:
    response = server.prediction.Classify(classification([2.0, 4.0]), timeout=30)
    rows = [[(c.label, c.score) for c in row.classes] for row in response.result.classifications]
    assert rows == [[("high", 3.0), ("low", -3.0)], [("high", 4.0), ("low", -4.0)]]
    assert response.model_spec.signature_name == "classify"


def test_classify_with_one_of_the_two(server: Server) -> None:
    scores = server.prediction.Classify(classification([2.0], "only_scores"), timeout=30)
    assert [(c.label, c.score) for c in scores.result.classifications[0].classes] == [("", 3.0), ("", -3.0)]
    classes = server.prediction.Classify(classification([2.0], "only_classes"), timeout=30)
    assert [(c.label, c.score) for c in classes.result.classifications[0].classes] == [("high", 0.0), ("low", 0.0)]


def test_a_label_that_is_no_text_still_answers(server: Server) -> None:
    request = generated.classification_pb2.ClassificationRequest(
        model_spec={"name": "examples", "signature_name": "words"}
    )
    response = server.prediction.Classify(filled(request, [example(words=[b"a\xff", b"b"])]), timeout=30)
    assert [c.label for c in response.result.classifications[0].classes] == ["a�", "b"]


def test_multi_inference_runs_once_for_all_tasks(server: Server) -> None:
    tasks = (("classify", CLASSIFY), ("", REGRESS), ("only_scores", CLASSIFY))
    before = server.metrics()
    response = server.prediction.MultiInference(inference(*tasks, xs=(2.0, 4.0)), timeout=30)
    after = server.metrics()
    first, second, third = response.results
    assert [c.score for c in first.classification_result.classifications[1].classes] == [4.0, -4.0]
    assert [r.value for r in second.regression_result.regressions] == [3.0, 4.0]
    assert [c.label for c in third.classification_result.classifications[0].classes] == ["", ""]
    names = [r.model_spec.signature_name for r in response.results]
    assert names == ["classify", "serving_default", "only_scores"]
    assert {r.model_spec.version.value for r in response.results} == {1}
    for name, grown in (("request_example_count", 2), ("request_example_counts_count", 1)):
        assert value(after, name, model="examples") - value(before, name, model="examples") == grown


def test_requests_are_counted_by_api(server: Server) -> None:
    before = server.metrics()
    server.prediction.Regress(regression([1.0]), timeout=30)
    server.prediction.Classify(classification([1.0]), timeout=30)
    refused(server.prediction.Classify, classification([1.0], "none"))
    after = server.metrics()

    def grown(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    assert grown("request_count", model_name="examples", status="OK") == 2
    assert grown("request_count", model_name="examples", status="INVALID_ARGUMENT") == 1
    for api in ("Classify", "Regress"):
        assert grown("request_latency_count", model_name="examples", API=api, entrypoint="GRPC") == 1
        assert grown("runtime_latency_count", model_name="examples", API=api, runtime="TF1") == 1


@pytest.mark.parametrize(
    ("signature", "words"),
    [
        ("none", "No signature was found with the name: none"),
        ("two_inputs", "Expected one input Tensor."),
        ("classify", "Expected one output Tensor."),
        ("other_input", "No regression inputs found in SignatureDef: inputs {"),
        ("other_output", "No regression outputs found in SignatureDef: inputs {"),
        ("double", "Expected output Tensor of DT_FLOAT.  Got: DT_DOUBLE"),
        ("wide", "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [2,2]"),
        ("short", "Input batch size did not match output batch size: 2 vs. 3"),
    ],
)
def test_signatures_that_cannot_regress(server: Server, signature: str, words: str) -> None:
    code, details = refused(server.prediction.Regress, regression([2.0, 4.0], signature))
    assert (code, details[: len(words)]) == (grpc.StatusCode.INVALID_ARGUMENT, words)


@pytest.mark.parametrize(
    ("signature", "words"),
    [
        ("none", "No signature was found with the name: none"),
        ("two_inputs", "Expected one input Tensor."),
        ("three_outputs", "Expected one or two output Tensors, found 3"),
        ("other_input", "No classification inputs found in SignatureDef: inputs {"),
        ("no_classes", 'Expected classification signature outputs to contain at least one of "classes" or "scores". S'),
        ("flat_scores", "Expected Tensor shape: [batch_size num_classes] but got [2]"),
        ("text_scores", "Expected scores Tensor of DT_FLOAT. Got: DT_STRING"),
        ("number_classes", "Expected classes Tensor of DT_STRING. Got: DT_FLOAT"),
        ("uneven", "Tensors class and score should match in dim_size(1). Got 2 vs. 1"),
        ("long_scores", "Expected scores output batch size of 2. Got: 4"),
    ],
)
def test_signatures_that_cannot_classify(server: Server, signature: str, words: str) -> None:
    code, details = refused(server.prediction.Classify, classification([2.0, 4.0], signature))
    assert (code, details[: len(words)]) == (grpc.StatusCode.INVALID_ARGUMENT, words)


def test_requests_without_what_they_need(server: Server) -> None:
    invalid, missing = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
    for call, message in (
        (server.prediction.Regress, generated.regression_pb2.RegressionRequest),
        (server.prediction.Classify, generated.classification_pb2.ClassificationRequest),
    ):
        assert refused(call, message()) == (invalid, "Missing ModelSpec")
        assert refused(call, message(model_spec={})) == (invalid, "ModelSpec has no name specified.")
        assert refused(call, message(model_spec={"name": "nobody"})) == (
            missing,
            "Servable not found for request: Latest(nobody)",
        )
        absent = message(model_spec={"name": "examples", "version": {"value": 7}})
        assert refused(call, absent) == (missing, "Servable not found for request: Specific(examples, 7)")
    assert refused(server.prediction.Regress, regression([])) == (invalid, "Input is empty.")
    empty = regression([], context=example(bias=1.0))
    assert refused(server.prediction.Regress, empty) == (invalid, "Input is empty.")


def test_an_example_that_the_model_cannot_parse(server: Server) -> None:
    request = filled(regression([]), [example(x=b"text")])
    code, details = refused(server.prediction.Regress, request)
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "Data types don't match. Data type: string but expected type: float" in details


@pytest.mark.parametrize(
    ("tasks", "code", "words"),
    [
        ((), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        ((("none", CLASSIFY),), "INVALID_ARGUMENT", "Requested signature not found in model graph: none"),
        ((("", REGRESS), ("serving_default", REGRESS)), "INVALID_ARGUMENT",
         "Duplicate evaluation of signature: serving_default"),
        ((("", "tensorflow/serving/predict"),), "UNIMPLEMENTED",
         "Unsupported signature method_name: tensorflow/serving/predict"),
        ((("classify", REGRESS),), "INVALID_ARGUMENT", "Expected one output Tensor."),
        ((("", REGRESS), ("no_classes", CLASSIFY)), "INVALID_ARGUMENT", "Expected classification signature outputs"),
        ((("flat_scores", CLASSIFY),), "INVALID_ARGUMENT", "Expected Tensor shape: [batch_size num_classes] but got"),
    ],
)  # fmt: skip
def test_multi_inference_refusals(server: Server, tasks: Any, code: str, words: str) -> None:
    found, details = refused(server.prediction.MultiInference, inference(*tasks))
    assert (found.name, details[: len(words)]) == (code, words)


def test_multi_inference_asks_one_model(server: Server) -> None:
    request = inference(("", REGRESS))
    request.tasks.add(model_spec={"name": "half"}, method_name=REGRESS)
    assert refused(server.prediction.MultiInference, request) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
    )
    request.tasks[1].model_spec.name = ""
    assert refused(server.prediction.MultiInference, request)[1] == "Found ModelSpec with an empty model name."
    request = inference(("", REGRESS))
    request.ClearField("input")
    assert refused(server.prediction.MultiInference, request)[1] == "Input is empty."
    code, details = refused(server.prediction.MultiInference, inference(("", REGRESS), model="nobody"))
    assert (code.name, details) == ("NOT_FOUND", "Servable not found for request: Latest(nobody)")


def test_the_method_name_is_checked_where_that_is_asked_for(models: Any, tmp_path: Any) -> None:
    arguments = (f"--model_base_path={models / 'examples'}", "--model_name=examples", *ONCE)
    with serving(tmp_path / "log", *arguments, "--enable_signature_method_name_check=true") as server:
        assert numbers(server.prediction.Regress(regression([2.0]), timeout=30)) == [3.0]
        assert refused(server.prediction.Regress, regression([2.0], "by_name"))[1] == (
            "Expected regression signature method_name to be tensorflow/serving/regress. "
            "Was: tensorflow/serving/predict"
        )
        assert refused(server.prediction.Classify, classification([2.0], "by_name"))[1] == (
            "Expected classification signature method_name to be tensorflow/serving/classify. "
            "Was: tensorflow/serving/predict"
        )


finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    xs=st.lists(
        st.tuples(finite | st.none(), st.lists(st.integers(-(2**40), 2**40), max_size=5)), min_size=1, max_size=8
    ),
    shared=st.lists(st.integers(-(2**40), 2**40), max_size=4) | st.none(),
)
def test_every_example_is_decoded_as_it_was_sent(server: Server, xs: Any, shared: Any) -> None:
    """Sums of int64 lists come back; what an example lacks comes from the context."""
    messages = []
    for x, counts in xs:
        message = generated.example_pb2.Example()
        if x is not None:
            message.features.feature["x"].float_list.value.append(x)
        if counts:
            message.features.feature["counts"].int64_list.value.extend(counts)
        messages.append(message)
    context = None
    if shared is not None:
        context = generated.example_pb2.Example()
        context.features.feature["counts"].int64_list.value.extend(shared)
    request = generated.regression_pb2.RegressionRequest(model_spec={"name": "examples", "signature_name": "counts"})
    response = server.prediction.Regress(filled(request, messages, context), timeout=30)
    expected = [float(sum(counts or (shared or []))) for _, counts in xs]
    assert numbers(response) == pytest.approx(expected, rel=1e-6)
