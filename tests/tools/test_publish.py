"""`slipway-tools publish`, `digest` and the termination message."""

import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from slipway_tools import result
from slipway_tools.digest import measure
from slipway_tools.errors import ModelError, Reason
from slipway_tools.limits import Limits
from slipway_tools.publish import Publication, publish
from slipway_tools.result import Fetched
from tests.tools.conftest import Run
from tests.tools.support import Files, below, coreutils_digest, model, saved_model, tar, tar_gz, write, zipped


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    path = tmp_path / "volume"
    path.mkdir()
    return path


Send = Callable[..., Fetched]


@pytest.fixture
def send(volume: Path) -> Send:
    def call(content: bytes, version: int | None = 1, **more: object) -> Fetched:
        publication = Publication(volume, "digits", version, **more)  # type: ignore[arg-type]
        return publish(publication, io.BytesIO(content), lambda _line: None)

    return call


def names(volume: Path) -> set[str]:
    return {path.name for path in volume.iterdir()}


@pytest.mark.parametrize("pack", [tar, tar_gz])
def test_a_stream_becomes_a_version(send: Send, volume: Path, pack: Callable[[Files], bytes]) -> None:
    done = send(pack(below("export", model())), version=3)
    assert done == Fetched(coreutils_digest(volume / "digits" / "3"), 3, sum(map(len, model().values())), 4)
    assert names(volume) == {"digits"}


def test_the_same_again_is_a_success(send: Send, volume: Path) -> None:
    first = send(tar(model()))
    inode = (volume / "digits" / "1").stat().st_ino
    assert send(tar_gz(model())) == first
    assert (volume / "digits" / "1").stat().st_ino == inode
    assert names(volume) == {"digits"}


def test_a_version_never_changes(send: Send, volume: Path) -> None:
    first = send(tar(model()))
    with pytest.raises(ModelError) as refused:
        send(tar(model(b"other")))
    assert refused.value.reason == Reason.VERSION_EXISTS
    assert measure(volume / "digits" / "1").digest == first.digest
    assert names(volume) == {"digits"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (tar({"../evil": b""}), Reason.UNSAFE_ARCHIVE),
        (tar({}), Reason.EMPTY_MODEL),
        (tar({"readme": b""}), Reason.NOT_A_SAVED_MODEL),
        (tar({"saved_model.pb": saved_model((["serve"], []))}), Reason.NO_SIGNATURES),
        (tar(below("2", model())), Reason.VERSION_NOT_FOUND),
        (zipped(model()), Reason.UNSUPPORTED_ARCHIVE),
        (tar(model())[:1000], Reason.UNSUPPORTED_ARCHIVE),
        (b"", Reason.UNSUPPORTED_ARCHIVE),
    ],
)
def test_nothing_bad_is_published(send: Send, volume: Path, content: bytes, reason: Reason) -> None:
    with pytest.raises(ModelError) as refused:
        send(content)
    assert refused.value.reason == reason
    assert names(volume) == set()


def test_a_digest_guards_the_way_there(send: Send, volume: Path) -> None:
    with pytest.raises(ModelError) as refused:
        send(tar(model()), digest="sha256:" + "0" * 64)
    assert refused.value.reason == Reason.DIGEST_MISMATCH
    assert names(volume) == set()


def test_limits(send: Send) -> None:
    with pytest.raises(ModelError) as refused:
        send(tar(model(bytes(5000))), limits=Limits(max_bytes=1000))
    assert refused.value.reason == Reason.TOO_LARGE


@pytest.mark.parametrize("name", ["../x", "", ".hidden", "a/b", "A", "-x"])
def test_names_that_are_none(volume: Path, name: str) -> None:
    with pytest.raises(ModelError, match="--name"):
        publish(Publication(volume, name), io.BytesIO(tar(model())), lambda _line: None)


@pytest.mark.parametrize(
    ("name", "allowed"), [("My Model_1", "my-model-1"), ("../x", "x"), ("-", "model"), ("a" * 70, "a" * 63)]
)
def test_a_name_that_is_none_is_answered_with_one(volume: Path, send: Send, name: str, allowed: str) -> None:
    with pytest.raises(ModelError, match=f"'{allowed}' is one$"):
        publish(Publication(volume, name), io.BytesIO(tar(model())), lambda _line: None)
    assert publish(Publication(volume, allowed), io.BytesIO(tar(model())), lambda _line: None).version == 1


def test_the_nearest_model_in_a_stream_is_named(send: Send) -> None:
    with pytest.raises(ModelError) as refused:
        send(tar(below("export/Servo/1", model()) | {"code/train.py": b""}))
    assert refused.value.message.endswith("send the content of 'export/Servo' alone (tar -C FOLDER -cf - .)")


def test_what_killed_publishers_left_goes_after_a_day(send: Send, volume: Path) -> None:
    for name, age in (("old", 90_000), ("new", 60)):
        path = write(volume / f".publish-{name}", {"half": b""})
        os.utime(path, (time.time() - age,) * 2)
    send(tar(model()))
    assert names(volume) == {"digits", ".publish-new"}


def publish_command(volume: Path) -> list[str]:
    program = [sys.executable, "-m", "slipway_tools", "publish"]
    return [*program, f"--directory={volume}", "--name=digits", "--version=1"]


def test_through_a_pipe_as_kubectl_exec_does(volume: Path, environment: dict[str, str]) -> None:
    command = publish_command(volume)
    done = subprocess.run(command, input=tar_gz(model()), env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["digest"] == coreutils_digest(volume / "digits" / "1")
    again = subprocess.run(command, input=tar(model(b"other")), env=environment, capture_output=True, check=False)
    assert again.returncode == 1
    assert b"publish under a new version" in again.stderr.splitlines()[-1]
    bad = subprocess.run(command, input=tar({"../x": b""}), env=environment, capture_output=True, check=False)
    assert bad.returncode == 1
    assert bad.stderr.startswith(b"the stream: the archive entry '../x' climbs")


def test_two_publishers_at_once(volume: Path, environment: dict[str, str]) -> None:
    command = publish_command(volume)
    contents = [tar(model(bytes([number]))) for number in range(4)]
    running = [
        subprocess.Popen(
            command, stdin=subprocess.PIPE, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in contents
    ]
    for process, content in zip(running, contents, strict=True):
        assert process.stdin is not None
        process.stdin.write(content)
        process.stdin.close()
    codes = sorted(process.wait(60) for process in running)
    assert codes == [0, 1, 1, 1]
    assert names(volume) == {"digits"}
    assert measure(volume / "digits" / "1").files == 4


def test_another_publisher_that_ends_meanwhile_disturbs_nobody(send: Send, volume: Path) -> None:
    """Its staging folder is listed and then gone: a link that leads nowhere is the same to whoever looks at its age."""
    (volume / ".publish-gone").symlink_to("nowhere")
    assert send(tar(model())).version == 1


def test_a_folder_that_may_not_be_read_is_not_called_written(volume: Path, run: Run) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to become somebody else")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        secret = write(Path(folder), model()) / "saved_model.pb"
        secret.chmod(0o600)
        os.seteuid(65532)
        try:
            done = run("digest", folder, log=Path(folder, "log"))
        finally:
            os.seteuid(0)
    assert done.code == 1
    assert done.stderr.startswith("reading the model failed: Permission denied")
    assert str(secret) in done.stderr


def test_the_digest_is_that_of_coreutils(tmp_path: Path, run: Run) -> None:
    files = {name: name.encode() for name in ["b", "a/z", "a.b", "a/é", "A", "a b", "-dash", "..dots", "a/b/c", "a-b"]}
    directory = write(tmp_path / "d", files | {"empty": b""})
    (directory / "link").symlink_to("a")
    (directory / "nothing").mkdir()
    assert run("digest", str(directory)).stdout.strip() == coreutils_digest(directory)


def test_the_digest_is_one_of_bytes(tmp_path: Path, run: Run) -> None:
    directory = write(tmp_path / "d", {"a": b"1"})
    Path(os.fsdecode(os.fsencode(directory) + b"/\xff\xfe")).write_bytes(b"2")
    assert run("digest", str(directory)).stdout.strip() == coreutils_digest(directory)


@pytest.mark.parametrize("name", ["back\\slash", "line\nbreak"])
def test_names_that_sha256sum_would_escape(tmp_path: Path, run: Run, name: str) -> None:
    done = run("digest", str(write(tmp_path / "d", {name: b"1"})))
    assert done.code == 1
    assert "rename it" in done.stderr


def test_digest_of_what_is_no_directory(tmp_path: Path, run: Run) -> None:
    done = run("digest", str(tmp_path / "absent"))
    assert done.code == 1
    assert "not a directory" in done.stderr


@pytest.mark.parametrize(
    "message", ["x" * 100_000, "é" * 100_000, "\x00" * 100_000, '"' * 100_000, "\U0001f40b" * 100_000]
)
def test_a_termination_message_is_never_cut_by_the_kubelet(message: str) -> None:
    text = result.failure(ModelError(Reason.INTERNAL_ERROR, message))
    assert len(text.encode()) <= 2048
    assert json.loads(text)["reason"] == "InternalError"


def test_a_termination_log_that_cannot_be_written(
    volume: Path, environment: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    result.write(volume / "absent" / "log", "text")
    result.write(volume, "text")
    assert capfd.readouterr().err.count("no termination message written") == 2


def test_the_tools_do_not_need_tensorflow(environment: dict[str, str]) -> None:
    probe = "import slipway_tools.cli, sys; print(sorted({m.split('.')[0] for m in sys.modules} & {'numpy', 'keras'}))"
    done = subprocess.run([sys.executable, "-c", probe], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
