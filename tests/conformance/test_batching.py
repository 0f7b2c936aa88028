"""Batching, on the model `queue`: at most 2 in a batch, half a second of waiting, every batch filled up to 2."""

import concurrent.futures
from typing import Any

import grpc
import numpy as np
import pytest

from tests.conformance import wire
from tests.conformance.wire import Target, predict_request, refused

CODES = grpc.StatusCode


def test_requests_that_meet_run_as_one(target: Target) -> None:
    """Two requests become one batch, and each gets its own share."""
    name = "batching_session:wrapped_run_count"
    before = target.metric(name)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(target.predict, "queue", {"x": [number]}) for number in (2.0, 4.0)]
        found = [wire.values(call.result().outputs["y"]).tolist() for call in calls]
    assert found == [[3.0], [4.0]]
    assert target.metric(name) == before + 1


def test_a_lonely_request_is_filled_up(target: Target) -> None:
    """After the timeout a batch runs as it is, padded to an allowed size; the padding does not come back."""
    before = target.metric("batching_session:padding_size_count", execution_batch_size="2")
    assert wire.values(target.predict("queue", {"x": [2.0]}).outputs["y"]).tolist() == [3.0]
    assert target.metric("batching_session:padding_size_count", execution_batch_size="2") == before + 1


@pytest.mark.parametrize(
    ("inputs", "signature", "code", "message"),
    [
        ({"x": [1.0, 2.0, 3.0]}, "", CODES.INVALID_ARGUMENT, "Task size 3 is larger than maximum input batch size 2"),
        ({"x": wire.fields(1.0)}, "", CODES.INVALID_ARGUMENT,
         "Batching Run() input tensors must have at least one dimension"),
        ({"a": [1.0, 2.0], "b": np.array([1])}, "pair", CODES.INVALID_ARGUMENT,
         "Batching Run() input tensors must have equal 0th-dimension size"),
        ({"x": [1.0, 2.0]}, "total", CODES.FAILED_PRECONDITION, "Batched output tensor has 0 dimensions"),
    ],
)  # fmt: skip
def test_what_cannot_be_batched(
    target: Target, inputs: dict[str, Any], signature: str, code: grpc.StatusCode, message: str
) -> None:
    """Requests and outputs without a common first dimension are refused."""
    assert refused(target.prediction.Predict, predict_request("queue", inputs, signature)) == (code, message)


def test_shapes_that_differ(target: Target) -> None:
    """Without padding, requests whose other dimensions differ cannot share a batch: both fail."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        shapes = [np.ones((1, 2), np.float32), np.ones((1, 3), np.float32)]
        requests = [predict_request("queue", {"x": shape}, "identity_float32") for shape in shapes]
        calls = [pool.submit(refused, target.prediction.Predict, request) for request in requests]
        found = [call.result() for call in calls]
    assert {code for code, _ in found} == {CODES.FAILED_PRECONDITION}
    assert all("padding is turned off" in message for _, message in found)
