"""Batching: what is joined, what is refused, and that nobody gets another one's answer."""

import concurrent.futures
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from dev.kit.eventually import eventually
from tests.model_server.harness import Server, array_of, predict_request, serving
from tests.model_server.test_metrics import samples
from tests.model_server.test_shutdown import steps_for
from tests.model_server.test_start import ONCE, failed_start

SESSION = ":tensorflow:serving:batching_session:"
CODES = grpc.StatusCode


def parameters(tmp_path: Path, text: str) -> tuple[str, str]:
    file = tmp_path / "batching.pbtxt"
    file.write_text(text)
    return ("--enable_batching=true", f"--batching_parameters_file={file}")


def batched(tmp_path: Path, models: Path, monitoring: str, text: str) -> AbstractContextManager[Server]:
    arguments = (f"--model_base_path={models / 'kitchen'}", "--model_name=kitchen", monitoring, *ONCE)
    return serving(tmp_path / "log", *arguments, *parameters(tmp_path, text))


@pytest.fixture(scope="module")
def joined(models: Path, monitoring: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Batches of 4 or 8 that wait long enough to fill."""
    text = """max_batch_size { value: 8 } batch_timeout_micros { value: 200000 } max_enqueued_batches { value: 100 }
        num_batch_threads { value: 2 } thread_pool_name { value: "pool" } allowed_batch_sizes: 4 allowed_batch_sizes: 8"""
    with batched(tmp_path_factory.mktemp("batching"), models, monitoring, text) as server:
        yield server


def metric(server: Server, name: str, **labels: str) -> float:
    return samples(server.metrics()).get((SESSION + name, tuple(sorted(labels.items()))), 0.0)


def test_requests_that_wait_together_run_together(joined: Server) -> None:
    before = metric(joined, "wrapped_run_count")
    values = [np.array([index, index + 0.5], np.float32) for index in range(8)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda value: joined.predict("kitchen", {"x": value}), values))
    for value, answer in zip(values, answers, strict=True):
        np.testing.assert_array_equal(array_of(answer.outputs["y"]), value * 0.5 + 2)
    runs = metric(joined, "wrapped_run_count") - before
    assert runs < 8
    assert metric(joined, "queuing_latency_count", thread_pool_name="pool") >= 8


def test_a_small_batch_is_padded_to_an_allowed_size(joined: Server) -> None:
    before = metric(joined, "padding_size_sum", execution_batch_size="4")
    answer = joined.predict("kitchen", {"x": np.array([4.0], np.float32)})
    np.testing.assert_array_equal(array_of(answer.outputs["y"]), [4.0])
    assert metric(joined, "padding_size_sum", execution_batch_size="4") - before == 3


def test_signatures_and_filters_have_queues_of_their_own(joined: Server) -> None:
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        half = pool.submit(joined.predict, "kitchen", {"x": np.array([2.0], np.float32)})
        text = pool.submit(joined.predict, "kitchen", {"s": np.array([b"a"], dtype=object)}, "text")
        inputs = {"a": np.array([2.0], np.float32), "b": np.array([3])}
        product = pool.submit(joined.predict, "kitchen", inputs, "pair", output_filter=["product"])
    assert array_of(half.result().outputs["y"]).tolist() == [3.0]
    assert list(text.result().outputs["joined"].string_val) == [b"aa"]
    assert {k: array_of(v).tolist() for k, v in product.result().outputs.items()} == {"product": [6.0]}


@pytest.mark.parametrize(
    ("inputs", "signature", "code", "message"),
    [
        ({"x": np.zeros(9, np.float32)}, "", CODES.INVALID_ARGUMENT,
         "Task size 9 is larger than maximum input batch size 8"),
        ({"x": np.float32(1)}, "", CODES.INVALID_ARGUMENT,
         "Batching Run() input tensors must have at least one dimension"),
        ({"a": np.zeros(2, np.float32), "b": np.array([1])}, "pair", CODES.INVALID_ARGUMENT,
         "Batching Run() input tensors must have equal 0th-dimension size"),
        ({"x": np.zeros(2, np.float32)}, "total", CODES.FAILED_PRECONDITION, "Batched output tensor has 0 dimensions"),
        ({"x": np.zeros(2, np.float32)}, "ragged", CODES.FAILED_PRECONDITION,
         "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input tensors"),
    ],
)  # fmt: skip
def test_what_cannot_be_batched_is_refused(
    joined: Server, inputs: dict[str, Any], signature: str, code: grpc.StatusCode, message: str
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        joined.predict("kitchen", inputs, signature)
    assert (caught.value.code(), caught.value.details()) == (code, message)
    assert array_of(joined.predict("kitchen", {"x": np.array([2.0], np.float32)}).outputs["y"]).tolist() == [3.0]


def test_shapes_that_do_not_fit_together_fail_unless_padding_is_on(joined: Server) -> None:
    shapes = [(1, 2), (1, 3)]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        calls = [
            pool.submit(joined.predict, "kitchen", {"x": np.ones(shape, np.float32)}, "identity_float32")
            for shape in shapes
        ]
    errors: list[Any] = [call.exception() for call in calls]
    assert {error.code() for error in errors} == {CODES.FAILED_PRECONDITION}
    assert (
        errors[0].details().startswith("Tensors with name 'identity_float32_x:0' from different tasks have different ")
    )


def test_padding_repeats_the_first_value(models: Path, monitoring: str, tmp_path: Path) -> None:
    text = "max_batch_size { value: 2 } batch_timeout_micros { value: 500000 } pad_variable_length_inputs: true"
    with batched(tmp_path, models, monitoring, text) as server, concurrent.futures.ThreadPoolExecutor(2) as pool:
        values = [np.array([[5.0, 6.0]], np.float32), np.array([[7.0, 8.0, 9.0]], np.float32)]
        calls = [pool.submit(server.predict, "kitchen", {"x": value}, "identity_float32") for value in values]
        answers = [array_of(call.result().outputs["x"]).tolist() for call in calls]
    assert answers == [[[5.0, 6.0, 5.0]], [[7.0, 8.0, 9.0]]]


def test_a_full_queue_refuses_and_a_late_request_is_told_so(models: Path, monitoring: str, tmp_path: Path) -> None:
    text = "max_batch_size { value: 1 } max_enqueued_batches { value: 1 } num_batch_threads { value: 1 }"
    with batched(tmp_path, models, monitoring, text) as server:
        steps = float(steps_for(server, 6, "batch_slow", {"x": np.array([20_000.0], np.float32)}))
        queued = metric(server, "queuing_latency_count", thread_pool_name="batch_threads")
        sent = metric(server, "input_batch_size_count")
        slow = {"x": np.array([steps], np.float32)}
        call = server.prediction.Predict.future
        request = predict_request("kitchen", slow, "batch_slow")
        running = call(request, timeout=120)
        eventually(lambda: metric(server, "queuing_latency_count", thread_pool_name="batch_threads") == queued + 1)
        waiting = call(request, timeout=2)
        eventually(lambda: metric(server, "input_batch_size_count") == sent + 2)
        with pytest.raises(grpc.RpcError) as full:
            server.prediction.Predict(request, timeout=60)
        assert full.value.code() == CODES.UNAVAILABLE
        assert full.value.details() == (
            "The batch scheduling queue to which this task was submitted is full; currently 1 batches enqueued and "
            "max_enqueued_batches is 1"
        )
        assert waiting.exception().code() == CODES.DEADLINE_EXCEEDED
        assert array_of(running.result().outputs["y"]).tolist() == [steps]
        # The server saw it differently from the client: the request ran out of time in the queue.
        count = ':tensorflow:serving:request_count{model_name="kitchen",status="RESOURCE_EXHAUSTED"} 1\n'
        eventually(lambda: count in server.metrics())


def test_large_requests_are_split_where_that_is_on(models: Path, monitoring: str, tmp_path: Path) -> None:
    text = """max_batch_size { value: 100 } max_execution_batch_size { value: 8 }
        enable_large_batch_splitting { value: true } max_enqueued_batches { value: 100 }"""
    with batched(tmp_path, models, monitoring, text) as server:
        values = np.arange(50, dtype=np.float32)
        answer = server.predict("kitchen", {"x": values})
        np.testing.assert_array_equal(array_of(answer.outputs["y"]), values * 0.5 + 2)
        assert metric(server, "wrapped_run_count") == 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_batch_size: 3", "Invalid protobuf file: '"),
        ("allowed_batch_sizes: 4 max_batch_size { value: 8 }",
         "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 4; expected 8"),
        ("num_batch_threads { value: 0 }", "num_batch_threads must be positive; was 0"),
    ],
)  # fmt: skip
def test_bad_parameters_fail_the_start(models: Path, tmp_path: Path, text: str, message: str) -> None:
    line = failed_start(f"--model_base_path={models / 'half'}", *parameters(tmp_path, text))
    assert line.startswith(f"INVALID_ARGUMENT: {message}")
