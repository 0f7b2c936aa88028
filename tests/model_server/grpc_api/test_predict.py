"""Predict over gRPC: good answers, and the contract's code and message for bad requests."""

from pathlib import Path

import grpc
import numpy as np
import pytest

from model_server.protobuf import generated
from tests.model_server.harness import Server, array_of, predict_request, proto

CODES = grpc.StatusCode


def refused(server: Server, request: object) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        server.prediction.Predict(request, timeout=30)
    # Whatever was refused, the next good request is answered.
    np.testing.assert_allclose(array_of(server.predict("half", {"x": [[2.0]]}).outputs["y"]), [[3.0]])
    return caught.value


def test_answers_with_model_version_signature_and_typed_values(server: Server) -> None:
    response = server.predict("half", {"x": [[1.0], [2.0], [5.0]]})
    assert (response.model_spec.name, response.model_spec.version.value) == ("half", 1)
    assert response.model_spec.signature_name == "serving_default"
    assert list(response.outputs) == ["y"]
    assert response.outputs["y"].dtype == 1
    assert list(response.outputs["y"].float_val) == [2.5, 3.0, 4.5]
    assert response.outputs["y"].tensor_content == b""
    assert [dim.size for dim in response.outputs["y"].tensor_shape.dim] == [3, 1]


def test_a_keras_model_answers_as_in_process(server: Server, models: Path) -> None:
    expected = np.load(models / "digits_expected.npy")
    response = server.predict("digits", {"image": np.ones((2, 8, 8, 1), np.float32)})
    (output,) = response.outputs.values()
    np.testing.assert_allclose(array_of(output), expected, rtol=1e-5)


def test_version_label_and_output_filter_choose(server: Server) -> None:
    assert server.predict("half", {"x": [[1.0]]}, version=1).model_spec.version.value == 1
    assert server.predict("half", {"x": [[1.0]]}, label="stable").model_spec.version.value == 1
    response = server.predict("kitchen", {"a": [1.0], "b": np.array([2])}, "pair", output_filter=["product"])
    assert list(response.outputs) == ["product"]


def test_rank_is_not_checked_against_the_signature(server: Server) -> None:
    assert list(server.predict("half", {"x": [2.0]}).outputs["y"].float_val) == [3.0]


@pytest.mark.parametrize("shape", [(1,), (1, 1), (1, 8, 8)])
def test_a_convolution_of_other_dimensions_is_refused_and_ends_nothing(server: Server, shape: tuple[int, ...]) -> None:
    """With oneDNN, TensorFlow ends the process."""
    tensor = generated.tensor_pb2.TensorProto(dtype=1, float_val=[0.5])
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    error = refused(server, predict_request("digits", {"image": tensor}))
    assert error.code() == CODES.INVALID_ARGUMENT


def test_tensor_content_short_lists_and_empty_batches_are_understood(server: Server) -> None:
    content = generated.tensor_pb2.TensorProto(dtype=1, tensor_content=np.array([4.0, 6.0], "<f4").tobytes())
    content.tensor_shape.dim.add(size=2)
    assert list(server.predict("half", {"x": content}).outputs["y"].float_val) == [4.0, 5.0]
    repeated = generated.tensor_pb2.TensorProto(dtype=1, float_val=[2.0])
    repeated.tensor_shape.dim.add(size=3)
    assert list(server.predict("half", {"x": repeated}).outputs["y"].float_val) == [3.0, 3.0, 3.0]
    empty = generated.tensor_pb2.TensorProto(dtype=1)
    empty.tensor_shape.dim.add(size=0)
    assert [d.size for d in server.predict("half", {"x": empty}).outputs["y"].tensor_shape.dim] == [0]


def test_strings_of_every_length_pass(server: Server) -> None:
    values = [b"", b"a", b"x" * 22, b"y" * 23, b"\x00\xff" * 5000]
    response = server.predict("kitchen", {"s": np.array(values, dtype=object)}, "text")
    assert list(response.outputs["joined"].string_val) == [value + value for value in values]


def missing_spec() -> object:
    request = predict_request("half", {"x": [[1.0]]})
    request.ClearField("model_spec")
    return request


def negative_dimension() -> object:
    message = generated.tensor_pb2.TensorProto(dtype=1, float_val=[1.0])
    message.tensor_shape.dim.add(size=-2)
    return predict_request("half", {"x": message})


def huge_shape() -> object:
    message = generated.tensor_pb2.TensorProto(dtype=1, float_val=[1.0])
    for _ in range(3):
        message.tensor_shape.dim.add(size=2**40)
    return predict_request("half", {"x": message})


X = {"x": [[1.0]]}
BAD = {
    "no spec": (missing_spec(), CODES.INVALID_ARGUMENT, "Missing ModelSpec"),
    "no name": (predict_request("", X), CODES.INVALID_ARGUMENT, "ModelSpec has no name specified."),
    "unknown model": (predict_request("nope", X), CODES.NOT_FOUND, "Servable not found for request: Latest(nope)"),
    "unknown version": (
        predict_request("half", X, version=7), CODES.NOT_FOUND, "Servable not found for request: Specific(half, 7)"),
    "unknown label": (
        predict_request("half", X, label="canary"), CODES.INVALID_ARGUMENT, "Unrecognized servable version label: canary"),
    "unknown signature": (
        predict_request("half", X, "S"), CODES.FAILED_PRECONDITION, 'Serving signature key "S" not found.'),
    "no input": (
        predict_request("half", {}), CODES.INVALID_ARGUMENT,
        "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. Missing but required: {x}."),
    "two inputs": (
        predict_request("half", {"x": [1.0], "z": [1.0]}), CODES.INVALID_ARGUMENT,
        "input size does not match signature: 2!=1 len({x,z}) != len({x}). Sent extra: {z}. Missing but required: {}."),
    "wrong name": (
        predict_request("half", {"z": [1.0]}), CODES.INVALID_ARGUMENT,
        ("Signature input alias: x(feed name: x:0) not found in request and no default value provided. "
        "Inputs expected to be in the request {z}, or default input alias set: ")),
    "negative dimension": (negative_dimension(), CODES.INVALID_ARGUMENT, "tensor parsing error: x"),
    "huge shape": (huge_shape(), CODES.INVALID_ARGUMENT, "tensor parsing error: x"),
    "wrong content size": (
        predict_request("half", {"x": generated.tensor_pb2.TensorProto(dtype=1, tensor_content=b"abc")}),
        CODES.INVALID_ARGUMENT, "tensor parsing error: x"),
    "no dtype": (
        predict_request("half", {"x": generated.tensor_pb2.TensorProto()}),
        CODES.INVALID_ARGUMENT, "tensor parsing error: x"),
    "wrong dtype": (
        predict_request("kitchen", {"x": proto(np.array([1.0]))}),
        CODES.INVALID_ARGUMENT, "Expects arg[0] to be float but double is provided"),
    "unknown output": (
        predict_request("half", X, output_filter=["q"]), CODES.INVALID_ARGUMENT,
        "output tensor alias not found in signature: q Outputs expected to be in the set {y}."),
    "same output twice": (
        predict_request("half", X, output_filter=["y", "y"]), CODES.INVALID_ARGUMENT,
        "duplicate output tensor alias: y"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_requests_are_refused_in_the_words_of_the_contract(server: Server, case: str) -> None:
    request, code, message = BAD[case]
    error = refused(server, request)
    assert (error.code(), error.details()) == (code, message)


def test_a_shape_that_the_graph_refuses_is_reported_by_the_operation(server: Server) -> None:
    error = refused(server, predict_request("kitchen", {"x": [[1.0, 2.0, 3.0, 4.0]]}, "matrix"))
    assert error.code() == CODES.INVALID_ARGUMENT
    assert error.details().startswith("Matrix size-incompatible: In[0]: [1,4], In[1]: [3,1]\n\t [[{{")


def test_long_messages_are_cut(server: Server) -> None:
    error = refused(server, predict_request("half", X, "S" * 3000))
    assert error.details().endswith("...TRUNCATED")
    assert len(error.details()) == 1024 + len("...TRUNCATED")


def test_a_deadline_ends_the_run_in_the_model(server: Server) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        server.predict("kitchen", {"n": np.array(10**9)}, "slow", timeout=0.5)
    assert caught.value.code() == CODES.DEADLINE_EXCEEDED
    # A second long run would not start if the first one still held a thread of the model.
    assert server.predict("kitchen", {"n": np.array(10)}, "slow", timeout=20).outputs["steps"].int64_val[0] == 10


def test_large_messages_pass_in_both_directions(server: Server) -> None:
    rows = np.arange(2_000_000, dtype=np.float32)
    message = generated.tensor_pb2.TensorProto(dtype=1, tensor_content=rows.tobytes())
    message.tensor_shape.dim.add(size=len(rows))
    response = server.predict("half", {"x": message}, timeout=60)
    np.testing.assert_array_equal(array_of(response.outputs["y"]), rows * np.float32(0.5) + np.float32(2))
