"""Models on a mounted volume claim: what is copied, what is refused, and what the message lists."""

import os
import socket
import tempfile
from pathlib import Path, PurePosixPath

import pytest

from slipway_tools.errors import ModelError, Reason
from slipway_tools.limits import CHUNK, Budget, Limits
from slipway_tools.sources import pvc
from tests.tools.conftest import Run
from tests.tools.support import PACKERS, below, coreutils_digest, model, tar, write


@pytest.fixture
def claim(tmp_path: Path) -> Path:
    """Where the claim is mounted, with a secret next to it."""
    write(tmp_path / "secrets", {"token": b"hunter2"} | below("1", model()))
    path = tmp_path / "source"
    path.mkdir()
    return path


def test_the_version_directory_is_copied(claim: Path, fetch: Run, models: Path) -> None:
    write(claim / "digits", below("1", model(b"old")) | below("2", model()))
    done = fetch("pvc://claim/digits", f"--source={claim}/digits")
    assert (done.code, done.message["version"]) == (0, 2), done.stderr
    assert done.message["digest"] == coreutils_digest(claim / "digits" / "2")
    assert coreutils_digest(models / "digits" / "2") == done.message["digest"]


def test_the_root_of_a_claim_with_what_file_systems_leave_there(claim: Path, fetch: Run) -> None:
    write(claim, below("digits/4", model()))
    (claim / "lost+found").mkdir(mode=0o700)
    (claim / ".publish-x").mkdir()
    done = fetch("pvc://claim", f"--source={claim}")
    assert (done.code, done.message.get("version")) == (0, 4), done.stderr


@pytest.mark.parametrize("form", PACKERS)
def test_an_archive_on_a_claim(claim: Path, fetch: Run, form: str) -> None:
    write(claim, {"digits.bin": PACKERS[form](model())})
    assert fetch("pvc://claim/digits.bin", f"--source={claim}/digits.bin").code == 0


def test_what_is_missing_is_named_with_what_is_there(claim: Path, fetch: Run) -> None:
    write(claim, below("digits/1", model()) | below("other/1", model()))
    done = fetch("pvc://claim/digitz/1", f"--source={claim}/digitz/1")
    assert (done.code, done.reason) == (1, "SourceNotFound")
    assert "'digitz/1'" in done.text
    assert "'digits', 'other'" in done.text


def test_an_empty_claim(claim: Path, fetch: Run) -> None:
    assert fetch("pvc://claim/digits", f"--source={claim}/digits").reason == "SourceNotFound"
    assert fetch("pvc://claim", f"--source={claim}").reason == "EmptyModel"


def test_a_link_that_leaves_the_claim(claim: Path, fetch: Run, models: Path) -> None:
    (claim / "digits").symlink_to("../secrets")
    done = fetch("pvc://claim/digits", f"--source={claim}/digits")
    assert (done.code, done.reason) == (1, "SourceForbidden")
    assert not list(models.rglob("token"))


def test_percent_encoding_hides_no_link(claim: Path, fetch: Run) -> None:
    (claim / "digits").symlink_to("../secrets")
    assert fetch("pvc://claim/digit%73", f"--source={claim}/digits").reason == "SourceForbidden"
    write(claim / "a b", model())
    assert fetch("pvc://claim/a%20b", f"--source={claim}/a b").code == 0


def test_a_mount_of_something_else(claim: Path, fetch: Run) -> None:
    write(claim / "digits", model())
    assert fetch("pvc://claim/other", f"--source={claim}/digits").reason == "InternalError"


def test_a_link_within_the_claim_may_name_the_model(claim: Path, fetch: Run) -> None:
    write(claim / "v7" / "digits", model())
    (claim / "current").symlink_to("v7")
    assert fetch("pvc://claim/current/digits", f"--source={claim}/current/digits").code == 0


def test_a_link_in_a_circle(claim: Path, fetch: Run) -> None:
    (claim / "digits").symlink_to("digits")
    assert fetch("pvc://claim/digits", f"--source={claim}/digits").reason == "SourceNotFound"


def test_a_version_that_is_a_link_stays_on_the_claim(claim: Path, fetch: Run, models: Path) -> None:
    write(claim / "releases" / "a", model())
    (claim / "digits").mkdir()
    (claim / "digits" / "7").symlink_to("../releases/a")
    assert fetch("pvc://claim/digits", f"--source={claim}/digits").message.get("version") == 7
    (claim / "digits" / "8").symlink_to("../../secrets/1")
    done = fetch("pvc://claim/digits", f"--source={claim}/digits", "--version=8")
    assert (done.code, done.reason) == (1, "SourceForbidden")
    assert "version 8" in done.text


@pytest.mark.parametrize("name", ["pipe", "x" * 300])
def test_a_path_that_leads_to_neither_folder_nor_file(claim: Path, fetch: Run, name: str) -> None:
    os.mkfifo(claim / "pipe")
    assert fetch(f"pvc://claim/{name}", f"--source={claim}/{name}").reason == "SourceNotFound"


def test_links_inside_the_model(claim: Path, fetch: Run, models: Path) -> None:
    write(claim / "digits", model())
    (claim / "digits" / "assets" / "token").symlink_to("../../../secrets/token")
    done = fetch("pvc://claim/digits", f"--source={claim}/digits")
    assert (done.code, done.reason) == (1, "SourceForbidden")
    assert "'assets/token' is a link that leaves its claim" in done.text
    assert not list(models.rglob("token"))


def test_links_that_stay_on_the_claim_are_followed(claim: Path, fetch: Run, models: Path) -> None:
    """As a content-addressed store lays models out: files are links to blobs, a folder is one too."""
    write(claim / "blobs", {"a": model()["saved_model.pb"]})
    write(claim / "shared", {"vocabulary.txt": b"a b c"})
    write(claim / "digits" / "1", {"variables/variables.index": b"x"})
    (claim / "digits" / "1" / "saved_model.pb").symlink_to("../../blobs/a")
    (claim / "digits" / "1" / "assets").symlink_to("../../shared")
    (claim / "digits" / "1" / "assets.extra").symlink_to("assets")
    done = fetch("pvc://claim/digits", f"--source={claim}/digits")
    assert (done.code, done.message.get("version")) == (0, 1), done.stderr
    copied = models / "digits" / "1"
    assert not [path for path in copied.rglob("*") if path.is_symlink()]
    assert (copied / "assets" / "vocabulary.txt").read_bytes() == b"a b c"
    assert done.message["digest"] == coreutils_digest(copied)


@pytest.mark.parametrize(
    ("target", "reason", "words"),
    [
        ("../../secrets", "SourceForbidden", "links are followed if they are relative and stay on it"),
        ("/models/digits", "SourceForbidden", "leaves its claim"),
        ("/etc/passwd", "SourceForbidden", "leaves its claim"),
        ("gone", "SourceNotFound", "is a link to 'gone', which is not there"),
        ("link", "SourceNotFound", "is a link to 'link', which is not there"),
        (".", "UnsafeArchive", "'link' is a link to a folder that it is in"),
        ("assets/up", "UnsafeArchive", "is a link to a folder that it is in"),
        ("pipe", "UnsafeArchive", "'link' is a device, pipe or socket"),
    ],
)
def test_links_that_cannot_be_followed(claim: Path, fetch: Run, target: str, reason: str, words: str) -> None:
    write(claim / "digits", model())
    if target == "pipe":
        os.mkfifo(claim / "pipe")
        target = "../pipe"
    if target == "assets/up":
        (claim / "digits" / "assets" / "up").symlink_to("..")
    (claim / "digits" / "link").symlink_to(target)
    done = fetch("pvc://claim/digits", f"--source={claim}/digits")
    assert (done.code, done.reason) == (1, reason)
    assert words in done.text


def test_a_file_that_becomes_a_way_out_while_it_is_copied(claim: Path) -> None:
    """Whoever writes to the claim may exchange a folder for a link after it was looked at."""
    write(claim / "digits" / "assets", {"token": b"plain"})
    real, mount = claim / "digits" / "assets" / "token", claim.resolve()
    (claim / "digits" / "assets").rename(claim / "digits" / "before")
    (claim / "digits" / "assets").symlink_to("../../secrets")
    with pytest.raises(ModelError) as caught:
        pvc.open_inside(PurePosixPath("assets/token"), real, mount)
    assert caught.value.reason == Reason.SOURCE_FORBIDDEN
    with pvc.open_inside(PurePosixPath("before/token"), claim / "digits" / "before" / "token", mount) as opened:
        assert opened.read() == b"plain"


def test_pipes_and_sockets_are_not_waited_for(claim: Path, fetch: Run) -> None:
    write(claim / "digits", model())
    os.mkfifo(claim / "digits" / "pipe")
    assert fetch("pvc://claim/digits", f"--source={claim}/digits").reason == "UnsafeArchive"
    (claim / "digits" / "pipe").unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(claim / "digits" / "s"))
        assert fetch("pvc://claim/digits", f"--source={claim}/digits").reason == "UnsafeArchive"


def test_limits(claim: Path, fetch: Run) -> None:
    write(claim / "digits", model(bytes(10_000)))
    assert fetch("pvc://claim/digits", f"--source={claim}/digits", "--max-bytes=9000").reason == "TooLarge"
    assert fetch("pvc://claim/digits", f"--source={claim}/digits", "--max-files=3").reason == "TooLarge"


def test_a_file_that_grows_while_it_is_copied_is_not_followed_beyond_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was announced when the folder was read is less than what comes."""
    write(tmp_path / "model", {"saved_model.pb": bytes(8 * CHUNK)})
    empty = tmp_path / "empty"
    empty.touch()
    path = PurePosixPath("saved_model.pb")
    monkeypatch.setattr(pvc, "_walk", lambda *_: iter([(path, tmp_path / "model" / path, empty.stat())]))
    with pytest.raises(ModelError) as caught:
        pvc._copy(tmp_path / "model", tmp_path / "target", Budget(Limits(max_bytes=2 * CHUNK), "the model"), tmp_path)
    assert caught.value.reason == Reason.TOO_LARGE
    assert (tmp_path / "target" / "saved_model.pb").stat().st_size <= 2 * CHUNK


def test_names_that_an_archive_may_not_have(claim: Path, fetch: Run) -> None:
    write(claim / "digits", model() | {"assets/line\nbreak": b""})
    assert fetch("pvc://claim/digits", f"--source={claim}/digits").reason == "UnsafeArchive"


def test_without_a_mount(fetch: Run) -> None:
    assert fetch("pvc://claim/digits").reason == "InternalError"


@pytest.mark.parametrize("name", ["digits", "digits.tar", "private/digits"])
def test_files_that_may_not_be_read(run: Run, name: str) -> None:
    """As in the pod: an unprivileged user, and a model that only root may read."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become somebody else")
    with tempfile.TemporaryDirectory() as folder:
        claim = write(Path(folder, "source"), {"digits.tar": tar(model())} | below("digits", model()))
        write(claim / "private" / "digits", model())
        (claim / "private").chmod(0o700)
        (claim / "digits" / "variables" / "variables.index").chmod(0o600)
        (claim / "digits.tar").chmod(0o600)
        volume = Path(folder, "models")
        volume.mkdir()
        for path, mode in ((Path(folder), 0o755), (volume, 0o777)):
            path.chmod(mode)
        os.seteuid(65532)
        try:
            done = run(
                "fetch", f"--uri=pvc://claim/{name}", f"--source={claim}/{name}", f"--destination={volume}/digits",
                f"--config-dir={volume}/.config", log=volume / "log",
            )  # fmt: skip
        finally:
            os.seteuid(0)
        assert (done.code, done.reason) == (1, "SourceForbidden")
        assert "by user 65532" in done.text
        assert "chmod" in done.text
