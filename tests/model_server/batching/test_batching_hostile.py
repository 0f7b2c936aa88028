"""Requests that batching could stumble over: each is refused by itself, and the threads that run batches go on."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import grpc
import numpy as np
import pytest

from model_server.batching.batcher import Batcher, BatchScheduler
from model_server.batching.tensors import merge
from model_server.config.settings import BatchingConfig
from model_server.errors import Code, ServingError
from model_server.metrics import Metrics
from model_server.tensors.dtypes import FLOAT
from model_server.tensors.host_tensor import HostTensor
from tests.model_server.harness import Server, array_of, proto, serving
from tests.model_server.inference.test_examples import example
from tests.model_server.test_start import ONCE

#: One thread runs all batches: if it ended, nothing would be answered any more.
PARAMETERS = """max_batch_size { value: 8 } max_execution_batch_size { value: 2 } enable_large_batch_splitting { value: true }
    allowed_batch_sizes: 2 allowed_batch_sizes: 8 num_batch_threads { value: 1 } max_enqueued_batches { value: 100 }"""


@pytest.fixture(scope="module")
def server(models: Path, model_config: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("hostile")
    (directory / "batching.pbtxt").write_text(PARAMETERS)
    batching = ("--enable_batching=true", f"--batching_parameters_file={directory / 'batching.pbtxt'}")
    labels = "--allow_version_labels_for_unavailable_models=true"
    with serving(directory / "log", model_config, labels, *batching, *ONCE) as running:
        yield running


@pytest.fixture(autouse=True)
def still_serving(server: Server) -> Iterator[None]:
    yield
    answer = server.predict("half", {"x": np.array([[2.0]], np.float32)})
    assert array_of(answer.outputs["y"]).tolist() == [[3.0]]
    assert "Traceback" not in server.output()


def examples(*words: list[bytes]) -> "np.ndarray[Any, Any]":
    return np.array([example(words=row).SerializeToString() for row in words], object)


def test_parts_of_a_split_request_whose_outputs_differ_in_width(server: Server) -> None:
    """The model's output is as wide as its widest row, so the two halves of this request cannot be put together."""
    one, two = [b"a"], [b"a", b"b"]
    whole = server.predict("examples", {"inputs": examples(one, one, one, one)}, "words")
    assert array_of(whole.outputs["classes"]).tolist() == [[b"a"]] * 4
    with pytest.raises(grpc.RpcError) as caught:
        server.predict("examples", {"inputs": examples(one, one, two, two)}, "words")
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert "do not fit together" in caught.value.details()


def test_an_empty_tensor_that_cannot_have_more_rows(server: Server) -> None:
    """It holds nothing and is a proper tensor; with the row that fills the batch up it would be none."""
    message = proto(np.zeros(1, np.float32))
    del message.float_val[:], message.tensor_shape.dim[:]
    for size in (1, 2**60, 0):
        message.tensor_shape.dim.add(size=size)
    with pytest.raises(grpc.RpcError) as caught:
        server.predict("kitchen", {"x": message}, "identity_float32")
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == "Tensors with name 'identity_float32_x:0' are too large for one batch"


def test_shapes_alone_reserve_no_memory() -> None:
    """A request of no bytes must not make its neighbour in the batch larger than any message."""
    small = HostTensor(FLOAT, np.ones((1, 1, 1), np.float32))
    empty = HostTensor(FLOAT, np.empty((1, 2**40, 0), np.float32))
    with pytest.raises(ServingError) as caught:
        merge([[("x", small)], [("x", empty)]], 0, pad_variable=True)
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert "too large" in caught.value.message


class Doubling:
    """A session of one output that waits until it may answer, and remembers what it was given."""

    def __init__(self) -> None:
        self.seen: list[list[float]] = []
        self.busy, self.go = threading.Event(), threading.Event()

    def run(self, feeds: Sequence[tuple[str, HostTensor]], _: Sequence[str], __: int) -> list[HostTensor]:
        ((_name, tensor),) = feeds
        self.seen.append(tensor.array.tolist())
        self.busy.set()
        assert self.go.wait(60)
        return [HostTensor(FLOAT, tensor.array * 2)]

    def close(self) -> None: ...


def test_a_split_request_finds_room_for_all_its_parts_or_leaves_none_in_the_queue() -> None:
    """A part that stayed would run for nobody, perhaps when its model is unloaded already."""
    session = Doubling()
    config = BatchingConfig(
        max_batch_size=8, max_enqueued_batches=2, enable_large_batch_splitting=True, max_execution_batch_size=2
    )
    batcher = Batcher(session, config, BatchScheduler(1), Metrics())
    outcomes: SimpleQueue[list[HostTensor] | Exception] = SimpleQueue()

    def submit(*values: float) -> None:
        batcher.submit([("x", HostTensor(FLOAT, np.array(values, np.float32)))], ["y"], 0, outcomes.put)

    submit(1)
    assert session.busy.wait(60)  # the only thread is taken: what follows waits in the queue
    with pytest.raises(ServingError) as caught:
        submit(11, 12, 13, 14, 15)
    assert caught.value.code is Code.UNAVAILABLE
    assert "currently 0 batches enqueued and max_enqueued_batches is 2" in caught.value.message
    submit(2, 3, 4, 5)
    with pytest.raises(ServingError):
        submit(16)
    session.go.set()
    answers = [outcomes.get(timeout=60) for _ in range(2)]
    assert [answer[0].array.tolist() for answer in answers if isinstance(answer, list)] == [
        [2.0],
        [4.0, 6.0, 8.0, 10.0],
    ]
    assert session.seen == [[1.0], [2.0, 3.0], [4.0, 5.0]]
    batcher.close()
