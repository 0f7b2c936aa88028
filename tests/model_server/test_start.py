"""Start order, failed starts and their last line, polling for versions."""

import concurrent.futures
import os
import shutil
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import grpc
import pytest

from dev.kit.eventually import eventually
from tests.model_server.harness import Server, port_open, run, serving
from tests.model_server.models.test_status_metadata import status_request

ONCE = ("--file_system_poll_wait_seconds=0", "--max_num_load_retries=0", "--load_retry_interval_micros=0")
FAILED = "Failed to start server. Error: "


@pytest.fixture
def base(tmp_path: Path, models: Path) -> Path:
    """A base path with version 1 of half, to be spoiled."""
    shutil.copytree(models / "half", tmp_path / "m")
    return tmp_path / "m"


def failed_start(*arguments: str) -> str:
    """What a start that fails says last. (TensorFlow's own messages may span lines.)"""
    done = run("--port=1", *arguments)
    assert done.returncode == 255, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    before, mark, message = done.stdout.partition(FAILED)
    assert mark
    assert FAILED not in before + message
    return message.removesuffix("\n")


def test_no_port_is_open_before_the_model_is_available(tmp_path: Path, models: Path) -> None:
    server = Server(tmp_path / "log", f"--model_base_path={tmp_path / 'm'}", "--model_name=m")
    try:
        eventually(lambda: "Could not find base path" in server.output())
        assert not port_open(server.port)
        assert not port_open(server.rest_port)
        shutil.copytree(models / "half", tmp_path / "m.new")
        (tmp_path / "m.new").rename(tmp_path / "m")
        server.wait_ready()
        # REST opens last, so gRPC answers by now.
        assert list(server.predict("m", {"x": [[2.0]]}).outputs["y"].float_val) == [3.0]
    finally:
        assert server.stop() == 0


def test_a_new_version_replaces_the_old_one_and_a_broken_one_does_not(base: Path, models: Path, tmp_path: Path) -> None:
    with serving(tmp_path / "log", f"--model_base_path={base}", "--model_name=m", *ONCE[1:]) as server:
        (base / "2").mkdir()

        def state(version: int) -> int:
            try:
                answer = server.models.GetModelStatus(status_request("m", version), timeout=10)
            except grpc.RpcError:
                return 0
            found: int = answer.model_version_status[0].state
            return found

        eventually(lambda: state(2) == 50)
        assert server.predict("m", {"x": [[2.0]]}).model_spec.version.value == 1
        shutil.copytree(models / "half" / "1", base / ".new")
        (base / ".new").rename(base / "3")
        eventually(lambda: state(3) == 30)
        eventually(lambda: state(1) == 50)
        assert server.predict("m", {"x": [[2.0]]}).model_spec.version.value == 3
        versions = [
            e.version for e in server.models.GetModelStatus(status_request("m"), timeout=10).model_version_status
        ]
        assert versions == [3, 2, 1]


def spoil_graph(version: Path) -> None:
    (version / "saved_model.pb").write_bytes(b"this is no protobuf" * 10)


def remove_graph(version: Path) -> None:
    (version / "saved_model.pb").unlink()


def remove_variables(version: Path) -> None:
    shutil.rmtree(version / "variables")


def cut_variables(version: Path) -> None:
    next((version / "variables").glob("*.data*")).write_bytes(b"")


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (spoil_graph, "Can't parse "),
        (remove_graph, "Could not find SavedModel .pb or .pbtxt at supplied export directory path: "),
        (
            remove_variables,
            "NOT_FOUND: Unsuccessful TensorSliceReader constructor: Failed to find any matching files for ",
        ),
        (cut_variables, "OUT_OF_RANGE: Read less bytes than requested"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_the_last_line(base: Path, spoil: Callable[[Path], None], text: str) -> None:
    spoil(base / "1")
    line = failed_start(f"--model_base_path={base}", "--model_name=m", *ONCE)
    assert line.startswith("UNKNOWN: 1 servable(s) did not become available: {{{name: m version: 1} due to error: ")
    assert line.endswith("}, }")
    assert text in line


def test_a_model_without_the_tag_names_the_tag(base: Path) -> None:
    line = failed_start(f"--model_base_path={base}", "--model_name=m", "--saved_model_tags=gpu", *ONCE)
    assert "NOT_FOUND: Could not find meta graph def matching supplied tags: { gpu }" in line


def test_a_load_is_tried_again_as_often_as_told(base: Path) -> None:
    remove_graph(base / "1")
    done = run("--port=1", f"--model_base_path={base}", "--model_name=m", "--file_system_poll_wait_seconds=0",
               "--max_num_load_retries=2", "--load_retry_interval_micros=1000")  # fmt: skip
    assert done.returncode == 255
    assert done.stderr.count("Loading servable: {name: m version: 1} failed: NOT_FOUND") == 3


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "INVALID_ARGUMENT: Both server_options.model_base_path and server_options.model_config_file are empty!"),
        (["--port=0", "--model_base_path=/x"],
         "INVALID_ARGUMENT: At least one of server_options.grpc_port or server_options.grpc_socket_path must be set."),
        (["--model_base_path=/x", "--batching_parameters_file=/y"],
         ("INVALID_ARGUMENT: server_options.batching_parameters_file is set without setting "
         "server_options.enable_batching to true.")),
        (["--model_base_path=/x", "--use_alts_credentials", "--ssl_config_file=/y"],
         "INVALID_ARGUMENT: Either use_alts_credentials must be false or ssl_config_file must be empty."),
        (["--model_base_path=/nowhere", *ONCE],
         "INVALID_ARGUMENT: Could not find base path /nowhere for servable default with error NOT_FOUND: "),
        (
            ["--model_base_path=models/m", "--model_name=m"],
            "INVALID_ARGUMENT: Expected model m to have an absolute path or URI; got base_path()=models/m",
        ),
        (["--model_config_file=/nowhere"], "NOT_FOUND: /nowhere; No such file or directory"),
        (["--model_base_path=/x", "--tensorflow_session_parallelism=1", "--tensorflow_intra_op_parallelism=1",
          "--tensorflow_inter_op_parallelism=1"], "INVALID_ARGUMENT: Either configure "),
    ],
)  # fmt: skip
def test_option_errors(arguments: list[str], text: str) -> None:
    assert failed_start(*arguments).startswith(text)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("model_config_list {", "INVALID_ARGUMENT: Invalid protobuf file: '"),
        (('model_config_list { config { name: "a" base_path: "/a" model_platform: "tensorflow" } '
         'config { name: "a" base_path: "/b" model_platform: "tensorflow" } }'),
         "INVALID_ARGUMENT: Illegal to list model a multiple times in config list"),
        ('model_config_list { config { name: "a" base_path: "a" model_platform: "tensorflow" } }',
         "INVALID_ARGUMENT: Expected model a to have an absolute path or URI; got base_path()=a"),
        ('model_config_list { config { name: "a" base_path: "/a" } }',
         "INVALID_ARGUMENT: Illegal setting neither ModelServerConfig::model_type (deprecated) nor "),
        (('model_config_list { config { name: "a" base_path: "/a" model_platform: "tensorflow" '
         'logging_config { sampling_config { sampling_rate: 1 } } } }'),
         "INVALID_ARGUMENT: No request-logger-creator provided."),
    ],
)  # fmt: skip
def test_bad_model_configs(tmp_path: Path, content: str, text: str) -> None:
    file = tmp_path / "models.pbtxt"
    file.write_text(content)
    assert failed_start(f"--model_config_file={file}").startswith(text)


def test_a_taken_port_fails_the_start(base: Path, tmp_path: Path) -> None:
    with serving(tmp_path / "log", f"--model_base_path={base}", *ONCE) as server:
        done = run(f"--port={server.port}", f"--model_base_path={base}", *ONCE)
        assert done.returncode == 255
        assert done.stdout.strip().splitlines()[-1].endswith("Failed to BuildAndStart gRPC server")


def test_unknown_arguments_are_reported_and_the_server_goes_on(base: Path, tmp_path: Path) -> None:
    flags = ("--nope=1", "--skip_initialize_tpu=true", f"--model_base_path={base}", *ONCE)
    with serving(tmp_path / "log", *flags) as server:
        assert "unknown argument: --nope=1\nusage: " in server.output()
        assert server.output().count("--skip_initialize_tpu has no effect in this server") == 1
        assert server.predict("default", {"x": [[2.0]]}).outputs["y"].float_val[0] == 3.0


@pytest.fixture
def read_only(base: Path) -> Iterator[Path]:
    for path in [base, *base.rglob("*")]:
        path.chmod(stat.S_IRUSR | stat.S_IXUSR | stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH)
    yield base
    for path in [base, *base.rglob("*")]:
        path.chmod(0o755)


@pytest.mark.parametrize("user", [65532, 1000650000])
def test_it_serves_as_any_user_without_a_home_from_read_only_files(user: int, read_only: Path, tmp_path: Path) -> None:
    python = Path(sys.executable).resolve()
    if os.geteuid() != 0 or not all(parent.stat().st_mode & stat.S_IXOTH for parent in python.parents):
        pytest.skip("needs root, and a Python that other users may run")
    for path in [read_only, *read_only.parents]:
        if path.stat().st_uid == 0 and path.is_relative_to("/tmp") and path != Path("/tmp"):
            path.chmod(path.stat().st_mode | 0o055)
    with serving(tmp_path / "log", f"--model_base_path={read_only}", *ONCE, user=user) as server:
        assert server.predict("default", {"x": [[2.0]]}).outputs["y"].float_val[0] == 3.0


def test_a_signal_during_the_load_ends_the_process_at_once(tmp_path: Path) -> None:
    server = Server(tmp_path / "log", f"--model_base_path={tmp_path / 'nowhere'}")
    try:
        eventually(lambda: "Could not find base path" in server.output())
        server.terminate()
        assert server.process.wait(timeout=60) == 0
    finally:
        server.stop()


def test_no_request_fails_while_versions_change(base: Path, models: Path, tmp_path: Path) -> None:
    with serving(tmp_path / "log", f"--model_base_path={base}", "--model_name=m") as server:
        done = threading.Event()

        def send() -> int:
            answered = 0
            while not done.is_set():
                assert list(server.predict("m", {"x": [[2.0]]}).outputs["y"].float_val) == [3.0]
                answered += 1
            return answered

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            clients = [pool.submit(send) for _ in range(2)]
            try:
                for version in ("2", "3"):
                    shutil.copytree(models / "half" / "1", base / ".new")
                    (base / ".new").rename(base / version)
                    gone = f"Done unloading servable version {{name: m version: {int(version) - 1}}}"
                    eventually(partial(server.said, gone))
            finally:
                done.set()
            assert all(client.result() > 0 for client in clients)
