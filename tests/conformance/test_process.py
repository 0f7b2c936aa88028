"""The process: flags, exit codes, start order, ports, signals. Needs an executable."""

import contextlib
import re
import shutil
import signal
import threading
import time
from pathlib import Path
from urllib.parse import quote

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from dev.kit.eventually import eventually
from tests.conformance.launch import Launcher, Process, is_open
from tests.conformance.wire import predict_request, values

ONCE = ("--max_num_load_retries=0", "--load_retry_interval_micros=0")
FAILED = 255


def half(models: Path) -> list[str]:
    return [f"--model_base_path={models / 'half'}", "--model_name=half"]


def test_version(launcher: Launcher) -> None:
    """--version prints two lines, of the server and of TensorFlow, and exits with 0."""
    done = launcher.run("--version")
    first, second = done.stdout.strip().splitlines()
    assert first.startswith("TensorFlow ModelServer: ")
    assert second.startswith("TensorFlow Library: ")
    assert done.returncode == 0


@pytest.mark.parametrize("flag", ["--help", "--port=many", "--enable_batching=perhaps"])
def test_help_and_bad_values_print_the_usage(launcher: Launcher, flag: str) -> None:
    """A value that cannot be read, and --help, print the usage on standard output and exit with 255."""
    done = launcher.run(flag)
    assert done.returncode == FAILED
    assert "usage: " in done.stdout
    assert "--rest_api_port" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port=1"], "Both server_options.model_base_path and server_options.model_config_file are empty!"),
        (["--port=0", "--model_base_path=/m"],
         "At least one of server_options.grpc_port or server_options.grpc_socket_path must be set."),
        (["--port=1", "--model_base_path=/m", "--batching_parameters_file=/b"],
         "server_options.batching_parameters_file is set without setting server_options.enable_batching to true."),
        (["--port=1", "--model_config_file=/etc/passwd"], "Invalid protobuf file: '/etc/passwd'"),
    ],
)  # fmt: skip
def test_starts_that_fail(launcher: Launcher, arguments: list[str], message: str) -> None:
    """A start that cannot be says why on standard output, behind fixed words, and exits with 255."""
    done = launcher.run(*arguments)
    assert done.returncode == FAILED
    line = next(line for line in done.stdout.splitlines() if line.startswith("Failed to start server. Error: "))
    assert line.endswith(message)


def test_request_logging_is_refused(launcher: Launcher, models: Path, tmp_path: Path) -> None:
    """Logging needs a collector, and none is compiled in."""
    file = tmp_path / "models.pbtxt"
    file.write_text(
        f'model_config_list {{ config {{ name: "m" base_path: "{models / "half"}" model_platform: "tensorflow" '
        "logging_config { sampling_config { sampling_rate: 1 } } } }"
    )
    done = launcher.run("--port=1", f"--model_config_file={file}", *ONCE)
    assert done.returncode == FAILED
    assert "INVALID_ARGUMENT: No request-logger-creator provided." in done.stdout


def test_a_model_that_does_not_load(launcher: Launcher, tmp_path: Path) -> None:
    """When every try has failed the start fails, and names each version with its error."""
    (tmp_path / "m" / "1").mkdir(parents=True)
    (tmp_path / "m" / "1" / "saved_model.pb").write_bytes(b"nonsense")
    done = launcher.run("--port=1", f"--model_base_path={tmp_path / 'm'}", "--model_name=m", *ONCE)
    assert done.returncode == FAILED
    assert re.search(r"1 servable\(s\) did not become available: \{+name: m version: 1\} due to error: ", done.stdout)


def test_flags_need_an_equals_sign_and_unknown_ones_are_ignored(
    launcher: Launcher, models: Path, tmp_path: Path
) -> None:
    """Only --name=value is read, the last one counts, and what is unknown is reported and ignored."""
    with launcher.serving(tmp_path / "log", *half(models), "--model_name=m", "--nonsense=1") as server:
        assert server.target.post("/v1/models/m:predict", {"instances": [[2.0]]}).json == {"predictions": [[3.0]]}
    assert "unknown argument: --nonsense=1" in server.log.read_text(errors="replace")


@pytest.mark.parametrize("name", ["half_plus_two", "ResNet50", "Res Net$(50)", "a?b#c%d", "mod\u00e8le"])
def test_a_model_may_be_called_almost_anything(launcher: Launcher, models: Path, tmp_path: Path, name: str) -> None:
    """The name of the flag is the name of requests, in REST's path percent-encoded, and the label of metrics."""
    config = tmp_path / "monitoring"
    config.write_text("prometheus_config { enable: true }")
    flags = [f"--model_base_path={models / 'half'}", f"--model_name={name}", f"--monitoring_config_file={config}"]
    with launcher.serving(tmp_path / "log", *flags) as server:
        target = server.target
        assert values(target.predict(name, {"x": [2.0]}).outputs["y"]).tolist() == [3.0]
        answer = target.post(f"/v1/models/{quote(name, safe='')}:predict", {"instances": [[2.0]]})
        assert answer.json == {"predictions": [[3.0]]}
        assert target.metric("request_count", model_name=name, status="OK") == 2


def test_no_port_before_the_model(launcher: Launcher, models: Path, tmp_path: Path) -> None:
    """Both ports stay closed until every model has a version that takes requests; then gRPC opens, then REST."""
    server = launcher.start(tmp_path / "log", f"--model_base_path={tmp_path / 'm'}", "--model_name=m")
    try:
        eventually(lambda: "Could not find base path" in server.log.read_text(errors="replace"))
        assert not is_open(server.port)
        assert not is_open(server.rest_port)
        shutil.copytree(models / "half", tmp_path / "copy")
        (tmp_path / "copy").rename(tmp_path / "m")
        server.wait_open()
        assert values(server.target.predict("m", {"x": [2.0]}).outputs["y"]).tolist() == [3.0]
    finally:
        server.end()


def test_a_new_version_takes_over_and_a_deleted_one_goes(launcher: Launcher, models: Path, tmp_path: Path) -> None:
    """Directories are polled: a higher number is loaded and then the old one unloaded, which stays listed as END."""
    base = tmp_path / "m"
    shutil.copytree(models / "half" / "1", base / "1")
    with launcher.serving(tmp_path / "log", f"--model_base_path={base}", "--model_name=m") as server:
        target = server.target
        shutil.copytree(models / "half" / "1", tmp_path / "next")
        (tmp_path / "next").rename(base / "2")

        def states() -> dict[str, str]:
            found = target.http("GET", "/v1/models/m").json["model_version_status"]
            return {item["version"]: item["state"] for item in found}

        eventually(lambda: states() == {"2": "AVAILABLE", "1": "END"})
        assert target.predict("m", {"x": [2.0]}).model_spec.version.value == 2


def test_a_socket_too(launcher: Launcher, models: Path, tmp_path: Path) -> None:
    """gRPC listens on a UNIX socket as well, where one is named."""
    path = tmp_path / "socket"
    started = launcher.serving(tmp_path / "log", *half(models), f"--grpc_socket_path={path}")
    with started, grpc.insecure_channel(f"unix:{path}") as channel:
        grpc.channel_ready_future(channel).result(30)


def test_sigterm_shuts_down_gracefully(launcher: Launcher, models: Path, tmp_path: Path) -> None:
    """A difference that is kept on purpose: the C++ server ignores SIGTERM; this one finishes what runs and exits with 0.

    Meanwhile health says NOT_SERVING. An executable that was named on the command line is not tested for this.
    """
    if not launcher.own:
        pytest.skip("the C++ server has no handler for SIGTERM")
    flags = [f"--model_base_path={models / 'kitchen'}", "--model_name=m", "--enable_grpc_healthcheck_service=true"]
    with launcher.serving(tmp_path / "log", *flags) as server:
        steps = steps_for(server, seconds=3)
        request = predict_request("m", {"n": np.array(steps)}, "slow")
        health: list[int] = []
        watch = health_pb2_grpc.HealthStub(server.target.channel).Watch(health_pb2.HealthCheckRequest())
        watcher = threading.Thread(target=lambda: _collect(watch, health), daemon=True)
        watcher.start()
        running = server.target.prediction.Predict.future(request, timeout=120)
        eventually(lambda: bool(health))
        # The call has arrived when one that went after it over the same connection is answered.
        server.target.predict("m", {"n": np.array(1)}, "slow")
        server.signal(signal.SIGTERM)
        assert values(running.result().outputs["steps"]).item() == steps
        assert server.process.wait(90) == 0
        watcher.join(90)
        statuses = health_pb2.HealthCheckResponse
        assert health == [statuses.SERVING, statuses.NOT_SERVING]


def steps_for(server: Process, seconds: float) -> int:
    """How many steps of `slow` take that long or longer on this machine: the fastest of five runs counts."""
    steps, took = 20_000, []
    for _ in range(5):
        started = time.monotonic()
        server.target.predict("m", {"n": np.array(steps)}, "slow")
        took.append(time.monotonic() - started)
    return int(steps * seconds / min(took))


def _collect(watch: object, health: list[int]) -> None:
    with contextlib.suppress(grpc.RpcError):
        for answer in watch:  # type: ignore[attr-defined]
            health.append(answer.status)  # noqa: PERF401 - what came before the stream ends must be kept
