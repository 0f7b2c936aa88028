"""SIGTERM: health says so, running requests finish, new ones are refused, exit 0."""

import concurrent.futures
import http.client
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from dev.kit.eventually import eventually
from tests.model_server.harness import Server, port_open, predict_request
from tests.model_server.test_start import ONCE

Start = Callable[..., Server]


@pytest.fixture
def start(models: Path, monitoring: str, tmp_path: Path) -> Iterator[Start]:
    arguments = (f"--model_base_path={models / 'kitchen'}", "--model_name=kitchen", monitoring, *ONCE)
    started: list[Server] = []

    def launch(*more: str, **environment: str) -> Server:
        flags = (*arguments, "--enable_grpc_healthcheck_service", *more)
        server = Server(tmp_path / "log", *flags, user=None, same_port=False, **environment)
        started.append(server)
        return server.wait_ready()

    yield launch
    for server in started:
        server.stop()


def steps_for(server: Server, seconds: float, signature: str = "slow", inputs: dict[str, Any] | None = None) -> int:
    """How many steps of a slow signature take that long or longer, here; `inputs` want 20 000 of them.

    The fastest of five counts: one that the machine held up would give a run that is over too soon.
    """
    probe, took = 20_000, []
    for _ in range(5):
        began = time.monotonic()
        server.predict("kitchen", inputs or {"n": np.array(probe)}, signature)
        took.append(time.monotonic() - began)
    return int(probe * seconds / min(took))


def test_requests_in_flight_finish_and_the_exit_code_is_0(start: Start) -> None:
    server = start()
    steps = steps_for(server, 3)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=60)
        connection.connect()
        over_grpc = pool.submit(server.predict, "kitchen", {"n": np.array(steps)}, "slow", 60)
        body = json.dumps({"signature_name": "slow", "inputs": steps})
        connection.request("POST", "/v1/models/kitchen:predict", body)
        idle = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=60)
        idle.request("GET", "/v1/models/kitchen")
        idle.getresponse().read()
        watch = health_pb2_grpc.HealthStub(server.channel).Watch(health_pb2.HealthCheckRequest(), timeout=60)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        assert not over_grpc.done()
        server.terminate()
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watch.cancel()
        eventually(lambda: not port_open(server.rest_port))
        eventually(lambda: not port_open(server.port))
        # The idle connection was closed, not left hanging until its time-out.
        assert idle.sock.recv(1) == b""
        assert over_grpc.result().outputs["steps"].int64_val[0] == steps
        answer = connection.getresponse()
        assert answer.status == 200
        assert answer.headers["Connection"] == "close"
        assert json.loads(answer.read()) == {"outputs": steps}
        connection.close()
        idle.close()
    assert server.process.wait(timeout=60) == 0
    assert "Shutdown complete" in server.output()


def test_a_request_longer_than_the_grace_is_cancelled(start: Start) -> None:
    server = start(MODEL_SERVER_SHUTDOWN_SECONDS="1")
    endless = server.prediction.Predict.future(_slow(10**12), timeout=120)
    eventually(lambda: not endless.done())
    server.predict("kitchen", {"n": np.array(1)}, "slow")
    began = time.monotonic()
    server.terminate()
    assert endless.exception(timeout=60).code() in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)
    assert server.process.wait(timeout=60) == 0
    assert time.monotonic() - began > 0.9
    assert "their time was up" in server.output()


def test_a_second_signal_ends_at_once(start: Start) -> None:
    server = start()
    endless = server.prediction.Predict.future(_slow(10**12), timeout=120)
    server.predict("kitchen", {"n": np.array(1)}, "slow")
    server.terminate()
    eventually(lambda: "Shutting down" in server.output())
    server.terminate()
    assert server.process.wait(timeout=60) == 128 + 15
    endless.cancel()


def test_connections_are_renewed_by_their_age(start: Start) -> None:
    server = start("--grpc_channel_arguments=grpc.max_connection_age_ms=300,grpc.max_connection_age_grace_ms=60000,odd")
    assert "'odd' has no '=' and is ignored" in server.output()
    seen: list[grpc.ChannelConnectivity] = []
    server.channel.subscribe(seen.append)
    server.predict("kitchen", {"n": np.array(1)}, "slow")
    eventually(lambda: grpc.ChannelConnectivity.IDLE in seen)
    # GOAWAY is no error for the next call, nor for one that outlives its connection.
    steps = steps_for(server, 1.5)
    assert server.predict("kitchen", {"n": np.array(steps)}, "slow").outputs["steps"].int64_val[0] == steps


def _slow(steps: int) -> object:
    return predict_request("kitchen", {"n": np.array(steps)}, "slow")
