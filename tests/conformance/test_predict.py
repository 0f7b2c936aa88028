"""Predict over gRPC. The sentence in each test is the rule of TensorFlow Serving that it tests."""

from typing import Any

import grpc
import numpy as np
import pytest

from tests.conformance import wire
from tests.conformance.wire import FLOAT, Target, predict_request, refused

CODES = grpc.StatusCode
X = {"x": [[1.0]]}


def test_outputs_come_in_typed_fields(target: Target) -> None:
    """Values of an output stand in the field of its type, in full length, and not in tensor_content."""
    response = target.predict("half", {"x": [[1.0], [2.0], [2.0]]})
    output = response.outputs["y"]
    assert list(output.float_val) == [2.5, 3.0, 3.0]
    assert not output.tensor_content
    assert [dim.size for dim in output.tensor_shape.dim] == [3, 1]
    assert output.dtype == FLOAT


def test_the_response_says_who_answered(target: Target) -> None:
    """model_spec of the response: the name, the version that was effective, the signature, which is named even if unasked."""
    response = target.predict("half", X)
    answered = response.model_spec
    assert (answered.name, answered.version.value, answered.signature_name) == ("half", 3, "serving_default")
    assert target.predict("kitchen", {"x": [1.0]}, "identity_float32").model_spec.signature_name == "identity_float32"


def test_versions_and_labels_choose(target: Target) -> None:
    """Without a choice the highest version answers; a number or a label chooses another."""
    for choice, version in (({}, 3), ({"version": 1}, 1), ({"label": "stable"}, 1), ({"label": "canary"}, 3)):
        assert target.predict("half", X, **choice).model_spec.version.value == version


def test_only_the_versions_of_the_policy_are_served(target: Target) -> None:
    """The policy `specific` leaves the other directories alone."""
    code, message = refused(target.prediction.Predict, predict_request("half", X, version=2))
    assert (code, message) == (CODES.NOT_FOUND, "Servable not found for request: Specific(half, 2)")


def test_a_filter_chooses_outputs(target: Target) -> None:
    """output_filter names the outputs that are computed; empty means all."""
    pair = {"a": [1.0], "b": np.array([2])}
    assert set(target.predict("kitchen", pair, "pair").outputs) == {"sum", "product"}
    assert set(target.predict("kitchen", pair, "pair", output_filter=["sum"]).outputs) == {"sum"}


def test_shapes_are_not_checked_against_the_signature(target: Target) -> None:
    """Only the graph decides which shapes it takes: a vector passes where the signature says [-1, 1]."""
    assert wire.values(target.predict("half", {"x": [2.0]}).outputs["y"]).tolist() == [3.0]


def test_a_short_value_list_is_filled_up(target: Target) -> None:
    """A TensorProto with fewer values than its shape repeats the last one; with none it is zero."""
    message = wire.shaped(FLOAT, (3, 1))
    message.float_val.extend([2.0, 4.0])
    assert wire.values(target.predict("half", {"x": message}).outputs["y"]).ravel().tolist() == [3.0, 4.0, 4.0]
    empty = wire.shaped(FLOAT, (2, 1))
    assert wire.values(target.predict("half", {"x": empty}).outputs["y"]).ravel().tolist() == [2.0, 2.0]


def test_messages_of_many_megabytes_pass(target: Target) -> None:
    """The server sets no limit of its own below 2 GiB."""
    numbers = np.arange(3_000_000, dtype=np.float32)
    output = target.predict("half", {"x": wire.content(numbers, "float32")}).outputs["y"]
    np.testing.assert_array_equal(np.array(output.float_val, np.float32), numbers * np.float32(0.5) + np.float32(2))


def without_spec() -> Any:
    request = predict_request("half", X)
    request.ClearField("model_spec")
    return request


def tensor(*sizes: int, **content: Any) -> Any:
    message = wire.shaped(FLOAT, sizes)
    message.MergeFrom(type(message)(**content))
    return message


# What is wrong: request, code, message. Each line of the table of errors that Predict can meet.
REFUSED = {
    "no model_spec": (without_spec(), CODES.INVALID_ARGUMENT, "Missing ModelSpec"),
    "empty name": (predict_request("", X), CODES.INVALID_ARGUMENT, "ModelSpec has no name specified."),
    "unknown model": (predict_request("nope", X), CODES.NOT_FOUND, "Servable not found for request: Latest(nope)"),
    "unknown version": (
        predict_request("half", X, version=7), CODES.NOT_FOUND, "Servable not found for request: Specific(half, 7)"),
    "unknown label": (
        predict_request("half", X, label="L"), CODES.INVALID_ARGUMENT, "Unrecognized servable version label: L"),
    "unknown signature": (
        predict_request("half", X, "S"), CODES.FAILED_PRECONDITION, 'Serving signature key "S" not found.'),
    "no input": (
        predict_request("half", {}), CODES.INVALID_ARGUMENT,
        "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. Missing but required: {x}."),
    "an input too many": (
        predict_request("half", {"x": [1.0], "z": [1.0]}), CODES.INVALID_ARGUMENT,
        "input size does not match signature: 2!=1 len({x,z}) != len({x}). Sent extra: {z}. Missing but required: {}."),
    "another input": (
        predict_request("half", {"z": [1.0]}), CODES.INVALID_ARGUMENT,
        ("Signature input alias: x(feed name: x:0) not found in request and no default value provided. "
         "Inputs expected to be in the request {z}, or default input alias set: ")),
    "content of another size": (
        predict_request("half", {"x": tensor(2, tensor_content=b"abc")}), CODES.INVALID_ARGUMENT,
        "tensor parsing error: x"),
    "negative dimension": (
        predict_request("half", {"x": tensor(-2, float_val=[1.0])}), CODES.INVALID_ARGUMENT, "tensor parsing error: x"),
    "wrong type": (
        predict_request("kitchen", {"x": wire.fields([1.0], "float64")}), CODES.INVALID_ARGUMENT,
        "Expects arg[0] to be float but double is provided"),
    "unknown output": (
        predict_request("half", X, output_filter=["q"]), CODES.INVALID_ARGUMENT,
        "output tensor alias not found in signature: q Outputs expected to be in the set {y}."),
    "an output twice": (
        predict_request("half", X, output_filter=["y", "y"]), CODES.INVALID_ARGUMENT,
        "duplicate output tensor alias: y"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(target: Target, case: str) -> None:
    """Each bad request has its code and its words, and the next good one is answered."""
    request, code, message = REFUSED[case]
    assert refused(target.prediction.Predict, request) == (code, message)
    assert wire.values(target.predict("half", {"x": [2.0]}).outputs["y"]).tolist() == [3.0]


def test_a_refusal_of_the_graph_is_passed_on(target: Target) -> None:
    """What an operation refuses comes as TensorFlow words it, with the node."""
    code, message = refused(target.prediction.Predict, predict_request("kitchen", {"x": [[1.0, 2.0]]}, "matrix"))
    assert code == CODES.INVALID_ARGUMENT
    assert message.startswith("Matrix size-incompatible: In[0]: [1,2], In[1]: [3,1]\n\t [[{{")
    assert "{{node MatMul}}]]" in message


def test_long_messages_are_cut(target: Target) -> None:
    """An error message has at most 1024 characters and then says that it was cut."""
    _, message = refused(target.prediction.Predict, predict_request("half", X, "S" * 3000))
    assert len(message) == 1024 + len("...TRUNCATED")
    assert message.endswith("...TRUNCATED")


def test_a_deadline_ends_the_run(target: Target) -> None:
    """The deadline of a call is the time limit of its run: afterwards the model is free again."""
    with pytest.raises(grpc.RpcError) as caught:
        target.prediction.Predict(predict_request("kitchen", {"n": np.array(10**9)}, "slow"), timeout=0.5)
    assert caught.value.code() == CODES.DEADLINE_EXCEEDED
    response = target.predict("kitchen", {"n": np.array(10)}, "slow")
    assert wire.values(response.outputs["steps"]).item() == 10


def test_nothing_streams_and_nothing_else_is_there(target: Target) -> None:
    """PredictionService and ModelService have unary calls only; SessionService exists as a file, not on the port."""
    call = target.channel.unary_unary("/tensorflow.serving.SessionService/SessionRun")
    assert refused(call, b"")[0] == CODES.UNIMPLEMENTED
