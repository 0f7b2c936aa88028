"""Labels when the configuration changes, the config file that is read again, and requests meanwhile."""

import threading
from functools import partial
from pathlib import Path

import grpc
import pytest

from dev.kit.eventually import eventually
from tests.model_server.harness import Server, serving
from tests.model_server.models.test_reload import (
    CODES,
    FAST,
    add_version,
    answers,
    base,
    entry,
    listed,
    refused,
    reload,
    served,
    states,
    states_or_none,
)
from tests.model_server.test_start import failed_start

__all__ = ["base", "served"]  # fixtures


def test_labels(served: Server, base: Path) -> None:
    def label(name: str, version: int) -> str:
        return f'version_labels {{ key: "{name}" value: {version} }}'

    both = "model_version_policy { all {} }"
    reload(served, entry(base, "a", label("stable", 1)))
    assert answers(served, "a", label="stable")
    # To a version that is not available: the whole change is refused, the new model included.
    code, details = refused(served, listed(entry(base, "a", label("stable", 2)), entry(base, "b")))
    assert (code, details) == (
        CODES.FAILED_PRECONDITION,
        "Request to assign label to version 2 of model a, which is not currently available for inference",
    )
    assert answers(served, "a", label="stable")
    assert states_or_none(served, "b") is None
    # In two steps it works: the version first, then the label.
    add_version(base / "a", 2)
    reload(served, entry(base, "a", both + label("stable", 1)))
    eventually(lambda: states(served, "a") == {2: 30, 1: 30})
    reload(served, entry(base, "a", both + label("stable", 2) + label("old", 1)))
    assert served.predict("a", {"x": [[2.0]]}, label="stable").model_spec.version.value == 2
    assert served.predict("a", {"x": [[2.0]]}, label="old").model_spec.version.value == 1
    # A label that is not listed any more is gone.
    reload(served, entry(base, "a", both + label("stable", 2)))
    with pytest.raises(grpc.RpcError) as caught:
        served.predict("a", {"x": [[2.0]]}, label="old")
    assert caught.value.details() == "Unrecognized servable version label: old"


STABLE_AND_CANARY = 'version_labels { key: "stable" value: 1 } version_labels { key: "canary" value: 2 }'
EVERY = "model_version_policy { all {} } "


def test_a_start_waits_for_the_labelled_versions(base: Path, tmp_path: Path) -> None:
    """The ports open when every version was tried, so each label has its version, whichever was loaded first."""
    add_version(base / "a", 2)
    file = tmp_path / "models.pbtxt"
    file.write_text(listed(entry(base, "a", EVERY + STABLE_AND_CANARY), entry(base, "b")))
    with serving(tmp_path / "log", f"--model_config_file={file}", *FAST) as server:
        for label, version in (("stable", 1), ("canary", 2)):
            assert server.predict("a", {"x": [[2.0]]}, label=label).model_spec.version.value == version


@pytest.mark.parametrize("policy", ["", EVERY, "model_version_policy { specific { versions: 2 } } "])
def test_a_start_fails_for_a_label_whose_version_is_not_served(base: Path, tmp_path: Path, policy: str) -> None:
    """Version 1 is not wanted, or (all) version 2 does not load."""
    add_version(base / "a", 2)
    missing = 1
    if policy == EVERY:
        (base / "a" / "2" / "saved_model.pb").write_bytes(b"nonsense")
        missing = 2
    file = tmp_path / "models.pbtxt"
    file.write_text(listed(entry(base, "a", policy + STABLE_AND_CANARY)))
    assert failed_start(f"--model_config_file={file}", "--max_num_load_retries=0") == (
        f"FAILED_PRECONDITION: Request to assign label to version {missing} of model a, which is not currently available "
        "for inference"
    )


def test_early_labels_may_be_new_but_not_moved(base: Path, tmp_path: Path) -> None:
    file = tmp_path / "models.pbtxt"
    file.write_text(listed(entry(base, "a", 'version_labels { key: "stable" value: 1 }')))
    early = "--allow_version_labels_for_unavailable_models"
    with serving(tmp_path / "log", f"--model_config_file={file}", early, *FAST) as server:
        assert answers(server, "a", label="stable")
        canary = 'version_labels { key: "canary" value: 9 }'
        reload(server, entry(base, "a", 'version_labels { key: "stable" value: 1 } ' + canary))
        with pytest.raises(grpc.RpcError) as caught:
            server.predict("a", {"x": [[2.0]]}, label="canary")
        assert caught.value.details() == "Servable not found for request: Specific(a, 9)"
        moved = listed(entry(base, "a", 'version_labels { key: "stable" value: 9 } ' + canary))
        assert refused(server, moved)[0] == CODES.FAILED_PRECONDITION
        assert answers(server, "a", label="stable")


def test_the_file_is_read_again(base: Path, tmp_path: Path) -> None:
    file = tmp_path / "models.pbtxt"
    file.write_text(listed(entry(base, "a")))
    arguments = (f"--model_config_file={file}", "--model_config_file_poll_wait_seconds=1", *FAST)
    with serving(tmp_path / "log", *arguments) as server:
        file.write_text(listed(entry(base, "a"), entry(base, "b")))
        eventually(lambda: answers(server, "b"))
        # What the file says counts: a change by the other way is undone.
        reload(server, entry(base, "a"))
        eventually(lambda: states(server, "b") == {1: 50})
        eventually(lambda: answers(server, "b"))
        for text, words in (
            ("no config", "Invalid protobuf file"),
            ('model_config_list { config { name: "a" base_path: "/x" model_platform: "torch" } }', "unsupported platf"),
            ("custom_model_config { }", "It is only legal to transition from one ModelConfigList to another."),
        ):
            file.write_text(text)
            eventually(partial(server.said, words))
        file.write_text("")
        eventually(lambda: "Taking no action for empty config." in server.output())
        file.unlink()
        eventually(lambda: "No such file or directory" in server.output())
        assert answers(server, "a")
        assert answers(server, "b")


def test_polling_once_finds_a_new_model_too(base: Path, tmp_path: Path) -> None:
    file = tmp_path / "models.pbtxt"
    file.write_text(listed(entry(base, "a")))
    arguments = (f"--model_config_file={file}", "--file_system_poll_wait_seconds=0", "--max_num_load_retries=0")
    with serving(tmp_path / "log", *arguments) as server:
        reload(server, entry(base, "a"), entry(base, "b"))
        assert answers(server, "b")


def test_an_empty_configuration_opens_the_ports(base: Path, tmp_path: Path) -> None:
    file = tmp_path / "models.pbtxt"
    file.write_text("")
    with serving(tmp_path / "log", f"--model_config_file={file}", *FAST) as server:
        assert refused(server, "")[0] == CODES.INVALID_ARGUMENT
        reload(server, entry(base, "a"))
        assert answers(server, "a")


def unloaded(server: Server, model: str, version: int) -> bool:
    return states(server, model)[version] == 50


def test_no_request_fails_while_the_configuration_changes(served: Server, base: Path) -> None:
    done = threading.Event()
    failures: list[str] = []

    def send() -> None:
        while not done.is_set():
            try:
                served.predict("a", {"x": [[2.0]]})
            except grpc.RpcError as error:
                failures.append(str(error))

    clients = [threading.Thread(target=send) for _ in range(2)]
    for client in clients:
        client.start()
    try:
        for number in (2, 3):
            add_version(base / "a", number)
            policy = f"model_version_policy {{ specific {{ versions: {number} }} }}"
            reload(served, entry(base, "a", policy), *([entry(base, "b")] if number == 2 else []))
            eventually(partial(unloaded, served, "a", number - 1))
    finally:
        done.set()
        for client in clients:
            client.join()
    assert failures == []
