"""tensorflow.ProfilerService: what it records, how a profile ends, and that it costs the other requests nothing but time."""

import concurrent.futures
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from dev.kit.eventually import eventually
from model_server.profiler.messages import MonitorRequest, ProfileRequest, ProfileResponse, TerminateRequest
from model_server.protobuf import generated
from tests.model_server.harness import Server, environment, serving
from tests.model_server.test_start import ONCE

X = {"x": [[2.0]]}
HOUR = 3_600_000


@pytest.fixture(scope="module")
def half(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("profiler") / "log"
    with serving(log, f"--model_base_path={models / 'half'}", *ONCE) as server:
        yield server


def call(server: Server, method: str) -> Any:
    return server.channel.unary_unary(
        f"/tensorflow.ProfilerService/{method}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=ProfileResponse.FromString if method == "Profile" else None,
    )


def refusal(server: Server, method: str, request: Any, timeout: float = 30) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(server, method)(request, timeout=timeout)
    return caught.value.code(), caught.value.details()


def running(server: Server, request: Any) -> Any:
    """A Profile that has begun to run or to wait; the log has a line for each."""
    before = server.output().count("] profiling")
    future = call(server, "Profile").future(request, timeout=120)
    eventually(lambda: server.output().count("] profiling") > before or future.done())
    assert not future.done(), future.exception()
    return future


def refused_as_second(server: Server) -> bool:
    try:
        call(server, "Profile")(ProfileRequest(emit_xspace=True), timeout=30)
    except grpc.RpcError as error:
        refusal = (error.code(), error.details())
    else:
        return False
    assert refusal == (grpc.StatusCode.INTERNAL, "Another profiling session active.")
    return True


def cancelled(server: Server, profile: Any) -> None:
    """Go away from a running Profile; the server notices and could take the next one."""
    assert refused_as_second(server)
    profile.cancel()
    eventually(lambda: not refused_as_second(server))


def event_names(space: Any) -> set[str]:
    """The names of the events that happened, not of all that have a name."""
    events = ((plane, event) for plane in space.planes for line in plane.lines for event in line.events)
    return {plane.event_metadata[event.metadata_id].name for plane, event in events}


def test_a_profile_shows_the_operations_of_requests_that_are_answered_meanwhile(half: Server, tmp_path: Path) -> None:
    request = ProfileRequest(
        duration_ms=1500, repository_root=f"{tmp_path}/logs", session_id="one", host_name="localhost:8500"
    )
    profile = call(half, "Profile").future(request, timeout=60)
    answered = 0
    while not profile.done():
        assert half.predict("default", X).outputs["y"].float_val[0] == 3.0
        answered += 1
    assert not profile.result().empty_trace
    assert not profile.result().HasField("xspace")
    assert answered > 10
    space = generated.xplane_pb2.XSpace()
    space.ParseFromString((tmp_path / "logs" / "one" / "localhost_8500.xplane.pb").read_bytes())
    names = event_names(space)
    assert any(name.endswith(":Mul") for name in names), names
    assert any("SessionRun" in name or "DirectSession" in name for name in names), names


def test_the_profile_is_in_the_answer_where_asked_for(half: Server) -> None:
    profile = running(half, ProfileRequest(duration_ms=HOUR, emit_xspace=True, session_id="here"))
    half.predict("default", X)
    call(half, "Terminate")(TerminateRequest(session_id="another"), timeout=30)
    assert not profile.done()
    assert call(half, "Terminate")(TerminateRequest(session_id="here"), timeout=30) == b""
    answer = profile.result(timeout=30)
    assert not answer.empty_trace
    assert any(name.endswith(":Mul") for name in event_names(answer.xspace))


def test_options_of_the_request_are_followed(half: Server) -> None:
    request = ProfileRequest(duration_ms=HOUR, emit_xspace=True, session_id="options")
    request.opts.version = 1
    request.opts.host_tracer_level = 0
    profile = running(half, request)
    half.predict("default", X)
    call(half, "Terminate")(TerminateRequest(session_id="options"), timeout=30)
    assert profile.result(timeout=30).empty_trace


def test_a_session_that_was_terminated_before_it_began_ends_at_once(half: Server) -> None:
    call(half, "Terminate")(TerminateRequest(session_id="early"), timeout=30)
    call(half, "Profile")(ProfileRequest(duration_ms=HOUR, emit_xspace=True, session_id="early"), timeout=30)
    # That was its end: the next one of the same name runs.
    profile = running(half, ProfileRequest(duration_ms=HOUR, emit_xspace=True, session_id="early"))
    cancelled(half, profile)


def test_a_profile_whose_client_has_gone_makes_room_for_the_next(half: Server, tmp_path: Path) -> None:
    request = ProfileRequest(duration_ms=2**64 - 1, repository_root=str(tmp_path / "logs"), session_id="gone")
    profile = running(half, request)
    cancelled(half, profile)
    assert refusal(half, "Profile", request, timeout=0.3)[0] == grpc.StatusCode.DEADLINE_EXCEEDED
    eventually(lambda: not refused_as_second(half))
    assert not (tmp_path / "logs").exists()


def test_a_profile_that_begins_later_can_be_given_up(half: Server) -> None:
    request = ProfileRequest(duration_ms=HOUR, emit_xspace=True, session_id="later")
    request.opts.version = request.opts.host_tracer_level = 1
    for hour in (1, 10**5, 10**7):  # the last one is past: it has more bits than TensorFlow reads
        request.opts.start_timestamp_ns = min(time.time_ns() + hour * HOUR * 10**6, 2**64 - 1)
        cancelled(half, running(half, request))
    request.opts.start_timestamp_ns = time.time_ns() + 3 * 10**8
    request.duration_ms = 1
    call(half, "Profile")(request, timeout=30)
    assert time.time_ns() > request.opts.start_timestamp_ns


def test_a_folder_that_cannot_be_made_is_said(half: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    request = ProfileRequest(duration_ms=1, repository_root=str(tmp_path / "file"), session_id="s", host_name="h")
    code, words = refusal(half, "Profile", request)
    assert code == grpc.StatusCode.INTERNAL
    assert str(tmp_path / "file") in words
    assert half.predict("default", X).outputs["y"].float_val[0] == 3.0


def test_monitor_answers_as_in_the_official_server(half: Server) -> None:
    words = refusal(half, "Monitor", MonitorRequest(duration_ms=1))
    assert words == (grpc.StatusCode.UNIMPLEMENTED, "unimplemented.")


def test_a_request_that_is_none_is_refused(half: Server) -> None:
    garbage = half.channel.unary_unary("/tensorflow.ProfilerService/Profile")
    with pytest.raises(grpc.RpcError) as caught:
        garbage(b"\xff\xff\xff", timeout=30)
    assert caught.value.code() == grpc.StatusCode.INTERNAL
    assert half.predict("default", X).outputs["y"].float_val[0] == 3.0


def test_reflection_knows_the_service_and_its_messages(half: Server) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(half.channel)
    question = reflection_pb2.ServerReflectionRequest
    requests = iter([question(list_services=""), question(file_containing_symbol="tensorflow.ProfilerService")])
    listed, file = stub.ServerReflectionInfo(requests, timeout=30)
    assert "tensorflow.ProfilerService" in [service.name for service in listed.list_services_response.service]
    assert len(file.file_descriptor_response.file_descriptor_proto) == 3


def test_no_port_is_opened_for_it(half: Server) -> None:
    before = listening(half)
    profile = running(half, ProfileRequest(duration_ms=HOUR, session_id="ports"))
    assert listening(half) == before
    cancelled(half, profile)


def listening(server: Server) -> set[str]:
    """The inodes of the server's listening sockets."""
    own = {str(link.readlink()) for link in Path(f"/proc/{server.process.pid}/fd").iterdir() if link.is_symlink()}
    rows = [row.split() for name in ("tcp", "tcp6") for row in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    found = {row[9] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in own}
    assert len(found) >= 2
    return found


def test_many_profiles_one_after_the_other_under_load(half: Server) -> None:
    over = threading.Event()

    def send() -> int:
        sent = 0
        while not over.is_set():
            assert half.predict("default", X).outputs["y"].float_val[0] == 3.0
            sent += 1
        return sent

    with concurrent.futures.ThreadPoolExecutor() as pool:
        clients = [pool.submit(send) for _ in range(4)]
        try:
            for number in range(20):
                session = f"many-{number}"
                profile = running(half, ProfileRequest(duration_ms=HOUR, emit_xspace=True, session_id=session))
                half.predict("default", X)  # on a busy machine the clients may be held up for a while
                call(half, "Terminate")(TerminateRequest(session_id=session), timeout=60)
                assert not profile.result(timeout=60).empty_trace
        finally:
            over.set()
        assert all(client.result(timeout=30) > 0 for client in clients)


def test_a_shutdown_ends_a_profile_with_what_was_seen(models: Path, tmp_path: Path) -> None:
    with serving(tmp_path / "log", f"--model_base_path={models / 'half'}", *ONCE) as server:
        profile = running(server, ProfileRequest(duration_ms=HOUR, emit_xspace=True, session_id="shutdown"))
        server.predict("default", X)
        server.terminate()
        assert not profile.result(timeout=30).empty_trace
        assert server.process.wait(timeout=60) == 0
        assert "Shutdown complete" in server.output()


def test_a_profile_outlives_a_reload_and_the_unloading_of_a_model(models: Path, tmp_path: Path) -> None:
    base = tmp_path / "kitchen"
    base.mkdir()
    (base / "1").symlink_to(models / "kitchen" / "1")
    arguments = (f"--model_base_path={base}", "--model_name=kitchen", "--file_system_poll_wait_seconds=1")
    with serving(tmp_path / "log", *arguments) as server:
        profile = running(server, ProfileRequest(duration_ms=HOUR, emit_xspace=True, session_id="reload"))
        (base / "2").symlink_to(models / "kitchen" / "1")
        number = {"n": np.array(1)}
        eventually(lambda: server.predict("kitchen", number, "slow").model_spec.version.value == 2)
        call(server, "Terminate")(TerminateRequest(session_id="reload"), timeout=30)
        assert not profile.result(timeout=30).empty_trace
        assert server.stop() == 0


def test_without_the_flag_there_is_no_such_service(models: Path, tmp_path: Path) -> None:
    arguments = (f"--model_base_path={models / 'half'}", "--enable_profiler=false", *ONCE)
    with serving(tmp_path / "log", *arguments) as server:
        assert refusal(server, "Profile", ProfileRequest()) == (grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
        stub = reflection_pb2_grpc.ServerReflectionStub(server.channel)
        requests = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        [listed] = stub.ServerReflectionInfo(requests, timeout=30)
        assert "tensorflow.ProfilerService" not in [entry.name for entry in listed.list_services_response.service]


REFUSED = """
from model_server import wheel
from model_server.errors import ServingError
from model_server.log import set_up_logging
from model_server.profiler import session
from model_server.profiler.messages import ProfileRequest
from model_server.profiler.service import Profiler
from model_server.runtime.libtensorflow import TensorFlow

def refused(library):
    service = Profiler(lambda: library)
    for _ in range(2):
        try:
            service.profile(ProfileRequest(), None)
        except ServingError as error:
            print(error)

set_up_logging()
library = TensorFlow(wheel.directory())
functions = session._FUNCTIONS
session._FUNCTIONS = {**functions, "end": ("_ZN4none", None, [])}
refused(library)
session._FUNCTIONS, session.KNOWN_VERSIONS = functions, ("1.",)
refused(library)
"""


def test_another_build_of_tensorflow_is_refused_and_the_log_says_so_once() -> None:
    # In a process of its own, since a loaded libtensorflow stays.
    done = subprocess.run(
        [sys.executable, "-c", REFUSED], env=environment(), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    missing, again, unknown, once_more = done.stdout.splitlines()
    assert missing == again == "UNIMPLEMENTED: this build of TensorFlow has no profiler: no _ZN4none"
    assert unknown == once_more
    assert unknown.startswith("UNIMPLEMENTED: this server cannot use the profiler of TensorFlow 2.")
    assert done.stderr.count("there is no profiler") == 2
