"""Changing the configuration while serving: by HandleReloadConfigRequest, and by the model config file that is polled."""

import contextlib
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import text_format

from dev.kit.eventually import eventually
from model_server.protobuf import generated
from tests.model_server.harness import Server, serving
from tests.model_server.models.test_status_metadata import status_request

FAST = ("--file_system_poll_wait_seconds=1", "--max_num_load_retries=0")
CODES = grpc.StatusCode


@pytest.fixture
def base(tmp_path: Path, models: Path) -> Path:
    """A directory with models a and b, one version each; a slope of 0.5 and an offset of 2."""
    for name in ("a", "b"):
        shutil.copytree(models / "half", tmp_path / "models" / name)
    return tmp_path / "models"


def add_version(model: Path, number: int) -> None:
    shutil.copytree(model / "1", model / ".new")
    (model / ".new").rename(model / str(number))


def entry(base: Path, name: str, more: str = "", platform: str = "tensorflow") -> str:
    return f'config {{ name: "{name}" base_path: "{base / name}" model_platform: "{platform}" {more} }}'


def listed(*entries: str) -> str:
    return "model_config_list { " + " ".join(entries) + " }"


def reload_request(text: str, *metrics: str) -> Any:
    request = generated.model_management_pb2.ReloadConfigRequest(metric_names=metrics)
    text_format.Parse(text, request.config)
    return request


def reload(server: Server, *entries: str, metrics: tuple[str, ...] = (), timeout: float | None = 60) -> Any:
    return server.models.HandleReloadConfigRequest(reload_request(listed(*entries), *metrics), timeout=timeout)


def refused(server: Server, text: str) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        server.models.HandleReloadConfigRequest(reload_request(text), timeout=60)
    return caught.value.code(), caught.value.details()


def answers(server: Server, model: str, **spec: Any) -> bool:
    with contextlib.suppress(grpc.RpcError):
        return list(server.predict(model, {"x": [[2.0]]}, **spec).outputs["y"].float_val) == [3.0]
    return False


def states(server: Server, model: str) -> dict[int, int]:
    answer = server.models.GetModelStatus(status_request(model), timeout=10)
    return {item.version: item.state for item in answer.model_version_status}


@pytest.fixture
def served(base: Path, tmp_path: Path) -> Iterator[Server]:
    """A server of model a, from a config file."""
    file = tmp_path / "models.pbtxt"
    file.write_text(listed(entry(base, "a")))
    with serving(tmp_path / "log", f"--model_config_file={file}", *FAST) as server:
        yield server


def test_a_new_model_can_be_asked_when_the_call_returns(served: Server, base: Path) -> None:
    name = "/tensorflow/cc/saved_model/load_attempt_count"
    response = reload(served, entry(base, "a"), entry(base, "b"), metrics=(name, "/no/such/metric", name))
    assert (response.status.error_code, response.status.error_message) == (0, "")
    assert [(m.name, m.int64_value_increase) for m in response.metric] == [(name, 1), ("/no/such/metric", 0)]
    assert answers(served, "a")
    assert answers(served, "b")


def test_a_reload_takes_nothing_from_what_was_counted(served: Server, base: Path) -> None:
    assert answers(served, "a")
    response = reload(served, entry(base, "a"), entry(base, "b"), metrics=("/tensorflow/core/direct_session_runs",))
    assert [metric.int64_value_increase for metric in response.metric] == [0]


def test_a_model_that_is_not_listed_any_more_goes_and_may_come_back(served: Server, base: Path) -> None:
    reload(served, entry(base, "b"))
    eventually(lambda: states(served, "a") == {1: 50})
    with pytest.raises(grpc.RpcError) as caught:
        served.predict("a", {"x": [[2.0]]})
    assert caught.value.details() == "Servable not found for request: Latest(a)"
    reload(served, entry(base, "a"))
    assert states(served, "a") == {1: 30}
    assert answers(served, "a")


def test_all_models_may_go(served: Server) -> None:
    reload(served)
    eventually(lambda: states(served, "a") == {1: 50})


def test_a_policy_may_change(served: Server, base: Path) -> None:
    add_version(base / "a", 2)
    eventually(lambda: states(served, "a") == {2: 30, 1: 50})
    reload(served, entry(base, "a", "model_version_policy { all {} }"))
    eventually(lambda: states(served, "a") == {2: 30, 1: 30})
    reload(served, entry(base, "a", "model_version_policy { specific { versions: 1 } }"))
    eventually(lambda: states(served, "a") == {2: 50, 1: 30})


def test_wanting_only_what_is_not_there_unloads(served: Server, base: Path) -> None:
    reload(served, entry(base, "a", "model_version_policy { specific { versions: 7 } }"))
    # No wanted version is there at all, so the loaded one goes, as in the C++ server.
    eventually(lambda: states(served, "a") == {1: 50})


def test_a_broken_version_keeps_the_old_one(served: Server, base: Path) -> None:
    add_version(base / "a", 2)
    eventually(lambda: states(served, "a") == {2: 30, 1: 50})
    (base / "a" / "3").mkdir()
    eventually(lambda: states(served, "a").get(3) == 50)
    assert states(served, "a") == {3: 50, 2: 30, 1: 50}
    status = served.models.GetModelStatus(status_request("a"), timeout=10).model_version_status[0].status
    assert status.error_code == 5
    assert "Could not find SavedModel .pb or .pbtxt" in status.error_message
    # It is not tried again as long as it stays wanted, even if it is whole by now.
    shutil.copytree(base / "a" / "2", base / "a" / "3", dirs_exist_ok=True)
    add_version(base / "b", 2)
    reload(served, entry(base, "a"), entry(base, "b"))
    assert states(served, "a")[3] == 50
    # Unwanted and wanted again, it is.
    reload(served, entry(base, "a", "model_version_policy { specific { versions: 2 } }"), entry(base, "b"))
    reload(served, entry(base, "a", "model_version_policy { specific { versions: 3 } }"), entry(base, "b"))
    eventually(lambda: states(served, "a") == {3: 30, 2: 50, 1: 50})


def test_deleted_directories_unload_down_to_nothing(served: Server, base: Path) -> None:
    (base / "a" / "1").rename(base / "kept")
    eventually(lambda: states(served, "a") == {1: 50})
    (base / "kept").rename(base / "a" / "1")
    eventually(lambda: states(served, "a") == {1: 30})
    # A base path that is gone is a fault of the storage, and changes nothing.
    (base / "a").rename(base / "moved")
    eventually(lambda: "Could not find base path" in served.output())
    assert answers(served, "a")


def test_a_new_model_that_fails_is_named_and_the_rest_is_served(served: Server, base: Path) -> None:
    (base / "broken" / "1").mkdir(parents=True)
    code, details = refused(served, listed(entry(base, "b"), entry(base, "broken")))
    assert code == CODES.UNKNOWN
    assert details.startswith(
        "1 model(s) did not become available: {{{name: broken version: 1} due to error: NOT_FOUND: Could not find Saved"
    )
    assert answers(served, "b")
    assert not answers(served, "a")


def test_a_path_that_is_missing_hangs_nothing(served: Server, base: Path) -> None:
    code, details = refused(served, listed(entry(base, "a"), entry(base, "later")))
    assert code == CODES.UNKNOWN
    assert "due to error: INVALID_ARGUMENT: Could not find base path" in details
    # The next change is not held up, and the model comes when its path does.
    reload(served, entry(base, "a"), entry(base, "b"), entry(base, "later"))
    shutil.copytree(base / "a", base / "late")
    (base / "late").rename(base / "later")
    eventually(lambda: answers(served, "later"))


def test_a_call_ends_with_its_deadline_and_the_load_goes_on(base: Path, tmp_path: Path) -> None:
    file = tmp_path / "models.pbtxt"
    file.write_text(listed(entry(base, "a")))
    graph = base / "b" / "1" / "saved_model.pb"
    graph.rename(base / "graph")
    arguments = ("--max_num_load_retries=100", "--load_retry_interval_micros=500000")
    with serving(tmp_path / "log", f"--model_config_file={file}", *arguments) as server:
        with pytest.raises(grpc.RpcError) as caught:
            reload(server, entry(base, "a"), entry(base, "b"), timeout=1)
        assert caught.value.code() == CODES.DEADLINE_EXCEEDED
        # While b is tried again and again, a takes a new version and the configuration another change.
        add_version(base / "a", 2)
        eventually(lambda: states(server, "a") == {2: 30, 1: 50})
        reload(server, entry(base, "a", "model_version_policy { all {} }"), entry(base, "b"))
        eventually(lambda: states(server, "a") == {2: 30, 1: 30})
        (base / "graph").rename(graph)
        eventually(lambda: answers(server, "b"))


def test_removing_a_model_ends_its_retries(base: Path, tmp_path: Path) -> None:
    file = tmp_path / "models.pbtxt"
    file.write_text(listed(entry(base, "a")))
    (base / "b" / "1" / "saved_model.pb").unlink()
    arguments = ("--max_num_load_retries=100", "--load_retry_interval_micros=60000000")
    with serving(tmp_path / "log", f"--model_config_file={file}", *arguments) as server:
        waiting: list[str] = []

        def wait() -> None:
            waiting.append(refused(server, listed(entry(base, "a"), entry(base, "b")))[1])

        thread = threading.Thread(target=wait)
        thread.start()
        eventually(lambda: states_or_none(server, "b") == {1: 20})
        reload(server, entry(base, "a"))
        thread.join(timeout=30)
        assert waiting == [
            "1 model(s) did not become available: {{{name: b} due to error: ABORTED: it was removed meanwhile}, }"
        ]
        eventually(lambda: states(server, "b") == {1: 50})


def states_or_none(server: Server, model: str) -> dict[int, int] | None:
    with contextlib.suppress(grpc.RpcError):
        return states(server, model)
    return None


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("", CODES.INVALID_ARGUMENT, "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConf"),
        ("custom_model_config { }", CODES.INVALID_ARGUMENT, "ServerModelConfig type not supported by HandleReloadConf"),
        (('model_config_list { config { name: "a" base_path: "/x" model_platform: "tensorflow" } '
         'config { name: "a" base_path: "/y" model_platform: "tensorflow" } }'),
         CODES.INVALID_ARGUMENT, "Illegal to list model a multiple times in config list"),
        ('model_config_list { config { name: "b" base_path: "x" model_platform: "tensorflow" } }',
         CODES.INVALID_ARGUMENT, "Expected model b to have an absolute path or URI; got base_path()=x"),
        ('model_config_list { config { name: "b" base_path: "/x" } }', CODES.INVALID_ARGUMENT,
         ("Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform, "
         "model name is b")),
        ('model_config_list { config { name: "b" base_path: "/x" model_platform: "tensorflow" model_type: TENSORFLOW } }',
         CODES.INVALID_ARGUMENT, ("Illegal setting both ModelServerConfig::model_type (deprecated) and "
         "ModelServerConfig::model_platform, model name is b")),
        ('model_config_list { config { name: "b" base_path: "/x" model_type: OTHER } }',
         CODES.INVALID_ARGUMENT, "ModelServerConfig::model_type choice 2 not supported."),
        ('model_config_list { config { name: "b" base_path: "/x" model_platform: "torch" } }',
         CODES.INVALID_ARGUMENT, "Model b requests unsupported platform torch"),
        ('model_config_list { config { name: "b" base_path: "/x" model_platform: "tensorflow" logging_config { } } }',
         CODES.INVALID_ARGUMENT, "No request-logger-creator provided."),
    ],
)  # fmt: skip
def test_a_bad_configuration_changes_nothing(served: Server, text: str, code: Any, words: str) -> None:
    found, details = refused(served, text)
    assert (found, details[: len(words)]) == (code, words)
    assert answers(served, "a")
    assert "ReloadConfig failed: " in served.output()
