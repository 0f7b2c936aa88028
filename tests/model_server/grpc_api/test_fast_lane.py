"""The fast lane: Predict does not pass through grpc's Python server, and nobody can tell."""

import concurrent.futures
import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest

from dev.kit.eventually import eventually
from model_server.grpc_api import fast_lane, lane_choice
from model_server.grpc_api.server import PREDICT_METHOD
from tests.model_server.harness import Server, array_of, predict_request, serving
from tests.model_server.test_metrics import value
from tests.model_server.test_start import ONCE

CODES = grpc.StatusCode


def answered(call: fast_lane.Call) -> None:
    call.answer(b"from the lane")


@pytest.fixture
def bare() -> Iterator[tuple[grpc.Server, grpc.Channel]]:
    """A grpc server whose lane answers at once, and the channel to it."""
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
    lane = fast_lane.attach(server, PREDICT_METHOD, lambda _payload, call: answered(call))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    assert lane is not None, "the pinned grpc has what the lane needs"
    lane.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield server, channel
    server.stop(0).wait(10)


def test_the_lane_takes_its_method_and_leaves_the_others(bare: tuple[grpc.Server, grpc.Channel]) -> None:
    _, channel = bare
    assert channel.unary_unary(PREDICT_METHOD)(b"x", timeout=10) == b"from the lane"
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/tensorflow.serving.PredictionService/Other")(b"x", timeout=10)
    assert caught.value.code() == CODES.UNIMPLEMENTED


def test_a_call_without_a_message_is_refused_in_grpcs_words(bare: tuple[grpc.Server, grpc.Channel]) -> None:
    _, channel = bare
    with pytest.raises(grpc.RpcError) as caught:
        channel.stream_unary(PREDICT_METHOD)(iter(()), timeout=10)
    assert caught.value.code() == CODES.UNIMPLEMENTED
    assert caught.value.details() == f"{PREDICT_METHOD} requires exactly one request message."


def test_a_stopped_server_takes_no_more_calls(bare: tuple[grpc.Server, grpc.Channel]) -> None:
    server, channel = bare
    assert channel.unary_unary(PREDICT_METHOD)(b"x", timeout=10) == b"from the lane"
    assert server.stop(5).wait(10)
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(PREDICT_METHOD)(b"x", timeout=10)
    assert caught.value.code() == CODES.UNAVAILABLE


def test_a_handler_that_fails_does_not_end_the_lane() -> None:
    def handler(payload: bytes, call: fast_lane.Call) -> None:
        if payload == b"bad":
            raise ValueError("secret")
        answered(call)

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
    lane = fast_lane.attach(server, PREDICT_METHOD, handler)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    assert lane is not None
    lane.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        predict = channel.unary_unary(PREDICT_METHOD)
        with pytest.raises(grpc.RpcError) as caught:
            predict(b"bad", timeout=10)
        assert caught.value.code() == CODES.INTERNAL
        assert "secret" not in caught.value.details()
        assert predict(b"good", timeout=10) == b"from the lane"
    server.stop(0).wait(10)


def test_another_grpc_goes_the_ordinary_way(caplog: pytest.LogCaptureFixture) -> None:
    """Where the names are not there, there is no lane, a warning, and no failure."""
    with caplog.at_level(logging.WARNING):
        assert fast_lane.attach(SimpleNamespace(), PREDICT_METHOD, lambda *_: None) is None
    assert "no fast lane" in caplog.text


def test_what_is_no_request_is_refused(server: Server) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        server.channel.unary_unary(PREDICT_METHOD)(b"\xff\xff nonsense", timeout=10)
    assert (caught.value.code(), caught.value.details()) == (CODES.INTERNAL, "Exception deserializing request!")
    assert array_of(server.predict("half", {"x": [[2.0]]}).outputs["y"]).tolist() == [[3.0]]


def test_cancelled_calls_leave_the_server_as_it_was(server: Server) -> None:
    calls = [
        server.prediction.Predict.future(predict_request("kitchen", {"n": np.array(30_000)}, "slow"), timeout=60)
        for _ in range(60)
    ]
    for call in calls:
        call.cancel()
    assert array_of(server.predict("half", {"x": [[2.0]]}).outputs["y"]).tolist() == [[3.0]]


def test_large_requests_to_a_model_that_batches(models: Path, monitoring: str, tmp_path: Path) -> None:
    """Above a megabyte a request is decoded off the lane's thread; it is counted and answered like any other."""
    flags = [f"--model_base_path={models / 'kitchen'}", "--model_name=kitchen", "--enable_batching=true", monitoring]
    parameters = tmp_path / "batching"
    parameters.write_text("max_batch_size { value: 1000000 }")
    with serving(tmp_path / "log", *ONCE, *flags, f"--batching_parameters_file={parameters}") as server:
        rows = np.arange(400_000, dtype=np.float32)
        answers = server.predict("kitchen", {"x": rows}, timeout=60)
        np.testing.assert_array_equal(array_of(answers.outputs["y"]), rows * np.float32(0.5) + np.float32(2))
        counted = {"model_name": "kitchen", "status": "OK"}
        eventually(lambda: value(server.metrics(), "request_count", **counted) == 1)


@pytest.mark.parametrize(
    ("version", "environment", "words"),
    [
        ("1.99.0", {}, "the fast lane is not tested with grpcio 1.99.0"),
        ("1.8.5", {}, "the fast lane is not tested with grpcio 1.8.5"),
        (grpc.__version__, {lane_choice.VARIABLE: "off"}, "MODEL_SERVER_FAST_LANE is off"),
        (grpc.__version__, {lane_choice.VARIABLE: "FALSE"}, "MODEL_SERVER_FAST_LANE is off"),
    ],
)
def test_without_the_lane_the_public_api_serves_the_method_and_one_line_says_why(
    version: str, environment: dict[str, str], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
    service, _, name = PREDICT_METHOD[1:].rpartition("/")
    handlers = {name: grpc.unary_unary_rpc_method_handler(lambda _request, _context: b"from grpc's server")}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    with caplog.at_level(logging.INFO, logger="model_server"):
        lane = lane_choice.attach(server, PREDICT_METHOD, lambda _payload, call: answered(call), environment, version)
    assert lane is None
    (line,) = caplog.messages
    assert words in line
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        assert channel.unary_unary(PREDICT_METHOD)(b"x", timeout=10) == b"from grpc's server"
    server.stop(0).wait(10)


def test_the_installed_grpcio_has_the_lane_unless_it_is_switched_off(caplog: pytest.LogCaptureFixture) -> None:
    """A new grpcio in requirements/ fails here until someone has run these tests with it and added its release."""
    for environment in ({}, {lane_choice.VARIABLE: ""}, {lane_choice.VARIABLE: "on"}):
        server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
        assert lane_choice.attach(server, PREDICT_METHOD, lambda *_: None, environment) is not None
    assert not caplog.messages


def outcome(server: Server, *request: Any, **options: Any) -> tuple[Any, ...]:
    """What a client sees of one call of Predict."""
    try:
        response = server.prediction.Predict(predict_request(*request, **options), timeout=30)
    except grpc.RpcError as error:
        return error.code(), error.details()
    return CODES.OK, response.SerializeToString(deterministic=True)


def test_both_ways_answer_alike(
    server: Server, models: Path, model_config: str, monitoring: str, tmp_path: Path
) -> None:
    """`server` has the lane; the other one has not."""
    requests: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        (("half", {"x": [[2.0], [4.0]]}), {}),
        (("half", {"x": [[2.0]]}), {"version": 1}),
        (("half", {"x": [[2.0]]}), {"label": "stable"}),
        (("half", {"x": [[2.0]]}), {"version": 7}),
        (("half", {"x": [[2.0]]}, "nope"), {}),
        (("half", {"x": [["text"]]}), {}),
        (("half", {"z": [[2.0]]}), {}),
        (("half", {"x": [[2.0]]}), {"output_filter": ["nope"]}),
        (("nobody", {}), {}),
        (("kitchen", {"n": np.array(100)}, "slow"), {}),
    ]
    flags = (*ONCE, model_config, monitoring, "--allow_version_labels_for_unavailable_models=true")
    with serving(tmp_path / "log", *flags, MODEL_SERVER_FAST_LANE="off") as other:
        for request, options in requests:
            assert outcome(server, *request, **options) == outcome(other, *request, **options)
        for payload in (b"", b"\xff\xff nonsense"):
            refusals = []
            for either in (server, other):
                with pytest.raises(grpc.RpcError) as caught:
                    either.channel.unary_unary(PREDICT_METHOD)(payload, timeout=30)
                refusals.append((caught.value.code(), caught.value.details()))
            assert refusals[0] == refusals[1]
        for either in (server, other):
            slow = predict_request("kitchen", {"n": np.array(10**12)}, "slow")
            with pytest.raises(grpc.RpcError) as caught:
                either.prediction.Predict(slow, timeout=0.5)
            assert caught.value.code() is CODES.DEADLINE_EXCEEDED
        ok, not_found = ({"model_name": "half", "status": status} for status in ("OK", "NOT_FOUND"))
        eventually(lambda: value(other.metrics(), "request_count", **ok) == 3)
        eventually(lambda: value(other.metrics(), "request_count", **not_found) == 1)  # version 7
        (line,) = [line for line in other.output().splitlines() if "public API" in line]
        assert "MODEL_SERVER_FAST_LANE is off" in line
    assert "public API" not in server.output()
