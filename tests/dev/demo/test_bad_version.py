"""The act with the bad version: how requests are counted, and what the demo does not let pass."""

import threading
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import numpy as np
import pytest

from dev.demo import bad_version, progress
from dev.demo.bad_version import Requests
from dev.demo.tour import Test as Split
from dev.errors import DevError
from dev.kit import prediction
from dev.kit.serving_messages import predict_pb2

IMAGES = np.zeros((3, 8, 8, 1), np.float32)
DIGITS = np.array([7, 7, 3])


class Sevens(grpc.GenericRpcHandler):
    """Reads a seven in every image, and refuses every fifth request."""

    def __init__(self) -> None:
        self.calls = 0

    def service(self, call: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(
            self.predict, predict_pb2.PredictRequest.FromString, predict_pb2.PredictResponse.SerializeToString
        )

    def predict(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.calls += 1
        if self.calls % 5 == 0:
            context.abort(grpc.StatusCode.UNAVAILABLE, "no more sevens")
        answer = predict_pb2.PredictResponse()
        answer.outputs["digit"].CopyFrom(prediction.to_tensor(np.array([7])))
        return answer


@pytest.fixture
def target() -> Iterator[str]:
    server = grpc.server(futures.ThreadPoolExecutor(1), handlers=[Sevens()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0).wait()


def test_every_request_is_counted_once(target: str) -> None:
    found, stop = Requests(), threading.Event()
    with prediction.connect(target) as predictor:
        grpc.channel_ready_future(predictor.channel).result(60)
        thread = threading.Thread(target=bad_version._predict, args=(predictor, Split(IMAGES, DIGITS), 0, found, stop))
        thread.start()
        bad_version.wait_for_more(found, 20)
        stop.set()
        thread.join()
    assert found.sent >= 20
    assert len(found.failed) == found.sent // 5
    assert found.failed[0] == "UNAVAILABLE: no more sevens"
    assert 0 < found.right < found.sent - len(found.failed)


def test_the_count_in_one_line() -> None:
    assert str(Requests(10, 4, ["x", "y"])) == "10 sent, 2 failed, 50.0% of the answers right"
    assert str(Requests()) == "0 sent, 0 failed, 0.0% of the answers right"


def state(reason: str, *, progressing: str = "False", observed: int = 2) -> dict[str, Any]:
    conditions = [
        {"type": "RolledBack", "status": "True", "reason": reason, "message": "m", "observedGeneration": observed},
        {"type": "Progressing", "status": progressing, "reason": "x", "message": "", "observedGeneration": observed},
    ]
    return {"metadata": {"generation": 2}, "status": {"conditions": conditions, "targetRevision": 1}}


def test_what_went_wrong_is_not_passed_over() -> None:
    bad_version.complain(state("GateFailed"), Requests(5, 5), {"a"}, {"a"})
    for arguments, words in (
        ((state("FetchFailed"), Requests(5, 5), {"a"}, {"a"}), "FetchFailed"),
        ((state("GateFailed"), Requests(5, 4, ["gone"]), {"a"}, {"a"}), "1 of 5 requests failed: gone"),
        ((state("GateFailed"), Requests(5, 5), {"a"}, {"b"}), "pods that serve"),
    ):
        with pytest.raises(DevError, match=words):
            bad_version.complain(*arguments)


def test_rolled_back_means_the_newest_spec_and_done() -> None:
    assert progress.rolled_back(state("GateFailed"))
    assert not progress.rolled_back(state("GateFailed", progressing="True"))
    assert not progress.rolled_back(state("GateFailed", observed=1))
    assert progress.facts(state("GateFailed"))["rolled back"] == "to revision 1, GateFailed"
