"""`slipway-tools fetch` from the outside: what it leaves in the volume, in the termination message and on stderr."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from tests.tools.conftest import Run
from tests.tools.support import PACKERS, Handler, Site, below, coreutils_digest, model, saved_model, tar, tar_gz, write


def tree(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("form", PACKERS)
def test_an_archive_becomes_a_version_directory(site: Site, fetch: Run, models: Path, form: str) -> None:
    done = fetch(site.file("/digits.bin", PACKERS[form](model())))
    assert done.code == 0, done.stderr
    home = models / "digits" / "1"
    assert tree(models / "digits") == {f"1/{name}" for name in model()}
    assert all((home / name).read_bytes() == content for name, content in model().items())
    expected = {"digest": coreutils_digest(home), "version": 1, "bytes": sum(map(len, model().values())), "files": 4}
    assert done.message == expected
    assert json.loads(done.stdout) == expected


def test_one_digest_whatever_the_packing(site: Site, run: Run, tmp_path: Path) -> None:
    directory = write(tmp_path / "pvc" / "digits", model())
    digests = {coreutils_digest(directory)}
    uris = [site.file(f"/{form}", pack(model())) for form, pack in PACKERS.items()] + ["pvc://claim/digits"]
    for number, uri in enumerate(uris):
        done = run(
            "fetch", f"--uri={uri}", f"--source={directory}", f"--destination={tmp_path}/pod{number}/digits",
            f"--config-dir={tmp_path}/pod{number}/.config", "--allow-address=127.0.0.1/32",
        )  # fmt: skip
        assert done.code == 0, done.stderr
        digests.add(str(done.message["digest"]))
    assert digests == {coreutils_digest(directory)}
    assert run("digest", str(directory)).stdout.strip() in digests


def test_modes_are_ours_whatever_the_archive_and_the_umask_say(site: Site, fetch: Run, models: Path) -> None:
    before = os.umask(0o077)
    try:
        assert fetch(site.file("/m", tar(model()))).code == 0
    finally:
        os.umask(before)
    modes = {oct(path.stat().st_mode & 0o7777) for path in (models / "digits" / "1").rglob("*") if path.is_file()}
    assert modes == {"0o644"}
    assert (models / "digits" / "1").stat().st_mode & 0o7777 == 0o755


@pytest.mark.parametrize(
    ("files", "asked", "served"),
    [
        (model(), None, 1),
        (model(), 7, 7),
        (below("export", model()), None, 1),
        (below("export", model()), 7, 7),
        (below("2", model()) | below("10", model()), None, 10),
        (below("2", model()) | below("10", model()), 2, 2),
        (below("00000123", model()), None, 123),
        (below("digits/3", model()), None, 3),
        (below("3", model()), None, 3),
        (below("3", model()) | {"README.md": b"about"}, None, 3),
        (below("export", model()) | {"__MACOSX/._export": b"mac"}, None, 1),
        (below("export", model()) | {".DS_Store": b"mac"}, None, 1),
    ],
)
def test_which_version_is_served(
    site: Site, fetch: Run, files: dict[str, bytes], asked: int | None, served: int
) -> None:
    done = fetch(site.file("/m", tar(files)), *([] if asked is None else [f"--version={asked}"]))
    assert (done.code, done.message.get("version")) == (0, served), done.stderr


def test_a_model_larger_than_the_memory_bound_stays_on_disk(
    site: Site, models: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    # 150 MB of constants inside saved_model.pb, read by a process of its own, whose peak is measured.
    content = tar_gz({"saved_model.pb": saved_model((["serve"], ["serving_default"]), weight_bytes=150 << 20)})
    uri = site.file("/big", content)
    probe = tmp_path / "probe.py"
    probe.write_text(
        "import re, sys\n"
        "from pathlib import Path\n"
        "from slipway_tools.cli import main\n"
        "code = main(sys.argv[1:])\n"
        "peak = re.search(r'VmHWM:\\s+(\\d+) kB', Path('/proc/self/status').read_text())[1]\n"
        "print(code, int(peak) // 1024, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, str(probe), "fetch", f"--uri={uri}", f"--destination={models}/digits",
         f"--config-dir={models}/.config", "--allow-address=127.0.0.1/32"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    code, peak = done.stderr.splitlines()[-1].split()
    assert code == "0", done.stderr
    assert int(peak) < 60


def test_the_text_protos(site: Site, fetch: Run, models: Path) -> None:
    uri = site.file("/m", tar(model()))
    batching = "max_batch_size=32,batch_timeout_micros=1000,allowed_batch_sizes=8,allowed_batch_sizes=32"
    assert fetch(uri, "--monitoring", f"--batching={batching}").code == 0
    assert (models / ".config" / "monitoring.pbtxt").read_text() == (
        'prometheus_config {\n  enable: true\n  path: "/monitoring/prometheus/metrics"\n}\n'
    )
    assert (models / ".config" / "batching.pbtxt").read_text() == (
        "max_batch_size { value: 32 }\nbatch_timeout_micros { value: 1000 }\n"
        "allowed_batch_sizes: 8\nallowed_batch_sizes: 32\n"
    )


@pytest.mark.parametrize(
    "batching", ["maxBatch=1", "max_batch_size", "max_batch_size=-1", "max_batch_size=1e3", 'thread_pool_name=a" }']
)
def test_a_batching_parameter_that_is_none(site: Site, fetch: Run, models: Path, batching: str) -> None:
    done = fetch(site.file("/m", tar(model())), f"--batching={batching}")
    assert (done.code, done.reason) == (1, "InternalError")
    assert "spec.runtime.batching" in done.text
    assert not site.requests
    assert not (models / "digits").exists()


def test_without_the_options_there_are_no_text_protos(site: Site, fetch: Run, models: Path) -> None:
    assert fetch(site.file("/m", tar(model())), "--monitoring").code == 0
    assert fetch(site.url + "/m").code == 0
    assert not (models / ".config" / "monitoring.pbtxt").exists()


def test_a_restarted_container_fetches_nothing_again(site: Site, fetch: Run) -> None:
    uri = site.file("/m", tar(model()))
    first, second = fetch(uri), fetch(uri)
    assert first.message == second.message
    assert second.code == 0
    assert len(site.requests) == 1


def test_a_restart_notices_damaged_files(site: Site, fetch: Run, models: Path) -> None:
    uri = site.file("/m", tar(model()))
    first = fetch(uri)
    (models / "digits" / "1" / "variables" / "variables.index").write_bytes(b"broken")
    assert fetch(uri).message == first.message
    assert (models / "digits" / "1" / "variables" / "variables.index").read_bytes() == b"index"
    assert len(site.requests) == 2


def test_another_request_is_not_answered_from_the_record(site: Site, fetch: Run) -> None:
    uri = site.file("/m", tar(below("1", model()) | below("2", model(b"two"))))
    assert fetch(uri, "--version=1").message["version"] == 1
    assert fetch(uri, "--version=2").message["version"] == 2


def test_what_a_killed_start_left_is_replaced(site: Site, fetch: Run, models: Path) -> None:
    write(models / ".fetch" / "unpacked", {"half": b"half"})
    write(models / "digits" / "1", {"saved_model.pb": b"half"})
    assert fetch(site.file("/m", tar(model()))).code == 0
    assert tree(models) == {f"digits/1/{name}" for name in model()} | {".config/fetched.json"}


def test_a_restart_with_a_pin_leaves_no_other_version_for_the_server(
    site: Site, fetch: Run, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server takes the highest version that it finds, whatever this container reports."""
    uri = site.file("/m", tar(below("2", model())))
    assert fetch(uri).message["version"] == 2
    site.file("/m", tar(below("1", model(b"one")) | below("2", model())))
    monkeypatch.setenv("SLIPWAY_PINNED_VERSION", "1")
    monkeypatch.setenv("SLIPWAY_PINNED_DIGEST", coreutils_digest(write(models.parent / "one", model(b"one"))))
    done = fetch(uri)
    assert (done.code, done.message.get("version")) == (0, 1), done.text
    assert [path.name for path in (models / "digits").iterdir()] == ["1"]


def test_a_failure_leaves_nothing_in_the_volume(site: Site, fetch: Run, models: Path) -> None:
    done = fetch(site.file("/m", tar(model())), "--digest=sha256:" + "0" * 64)
    assert done.code == 1
    assert tree(models) == set()


def test_digest(site: Site, fetch: Run, tmp_path: Path) -> None:
    uri = site.file("/m", tar(model()))
    right = coreutils_digest(write(tmp_path / "m", model()))
    wrong = right[:-1] + ("0" if right[-1] != "0" else "1")
    refused = fetch(uri, f"--digest={wrong}")
    assert (refused.code, refused.reason) == (1, "DigestMismatch")
    assert right in refused.text
    assert wrong in refused.text
    assert "spec.model.digest" in refused.text
    assert fetch(uri, f"--digest={right}").code == 0


def test_one_flipped_byte_is_refused(site: Site, fetch: Run, tmp_path: Path) -> None:
    right = coreutils_digest(write(tmp_path / "m", model(b"weights")))
    assert fetch(site.file("/m", tar(model(b"weightz"))), f"--digest={right}").reason == "DigestMismatch"


GRAPH_ONLY = saved_model((["train"], ["serving_default"]))


@pytest.mark.parametrize(
    ("files", "reason", "words"),
    [
        ({}, "EmptyModel", "nothing in it"),
        ({".keep": b""}, "EmptyModel", "nothing in it"),
        ({"1/.keep": b""}, "EmptyModel", "version 1 is empty"),
        ({"model.keras": b"PK"}, "NotASavedModel", "export"),
        ({"1/model.h5": b"hdf"}, "NotASavedModel", "'model.h5'"),
        ({"a": b"", "b": b""}, "NotASavedModel", "'a', 'b'"),
        ({"saved_model.pb": b""}, "NotASavedModel", "is empty"),
        ({"saved_model.pb": b"\x08\x01"}, "NotASavedModel", "no graph at all"),
        ({"saved_model.pb": b"<html>not found</html>"}, "NotASavedModel", "damaged"),
        ({"saved_model.pb": saved_model()[:-3]}, "NotASavedModel", "damaged or cut off"),
        ({"saved_model.pb": GRAPH_ONLY}, "NotASavedModel", "found: {'train'}"),
        ({"saved_model.pb": saved_model((["serve", "gpu"], ["s"]))}, "NotASavedModel", "found: {'gpu', 'serve'}"),
        ({"saved_model.pb": saved_model((["serve"], []))}, "NoSignatures", "no signatures"),
        ({"saved_model.pb": saved_model((["serve"], ["__saved_model_init_op"]))}, "NoSignatures", "no signatures"),
    ],
)
def test_what_is_no_model(site: Site, fetch: Run, files: dict[str, bytes], reason: str, words: str) -> None:
    done = fetch(site.file("/m", tar(files)))
    assert (done.code, done.reason) == (1, reason), done.text
    assert words in done.text
    assert "spec.model.uri" in done.text
    assert done.stderr.splitlines()[-1] == done.text


def test_other_tags_are_a_matter_of_the_server_flags(site: Site, fetch: Run) -> None:
    uri = site.file("/m", tar({"saved_model.pb": saved_model((["serve", "gpu"], ["s"]), (["train"], ["s"]))}))
    assert fetch(uri, "--saved-model-tags=gpu,serve").code == 0


def test_a_version_that_is_not_there(site: Site, fetch: Run) -> None:
    done = fetch(site.file("/m", tar(below("1", model()) | below("3", model()))), "--version=2")
    assert (done.reason, done.text) == (
        "VersionNotFound", "spec.model.version: there is no version 2; there is: 3, 1"
    )  # fmt: skip


def test_a_version_that_is_there_twice(site: Site, fetch: Run) -> None:
    done = fetch(site.file("/m", tar(below("3", model()) | below("03", model()))))
    assert done.reason == "VersionNotFound"
    assert "03 and 3" in done.text


def test_the_highest_version_is_not_passed_over_when_it_is_broken(site: Site, fetch: Run) -> None:
    done = fetch(site.file("/m", tar(below("1", model()) | {"2/variables/x": b""})))
    assert done.reason == "NotASavedModel"
    assert "version 2" in done.text


@pytest.mark.parametrize(
    "argument", ["--version=x", "--version=-1", f"--version={1 << 63}", "--digest=md5:1", "--max-bytes=0", "--nonsense"]
)
def test_wrong_arguments_reach_the_pods_status(site: Site, fetch: Run, argument: str) -> None:
    done = fetch(site.url, argument)
    assert (done.code, done.reason) == (1, "InternalError")
    assert argument.partition("=")[0] in done.text


@pytest.mark.parametrize("form", PACKERS)
def test_limits(site: Site, fetch: Run, form: str) -> None:
    packed = PACKERS[form](model(bytes(50_000)))
    assert fetch(site.file("/m", packed), "--max-bytes=40000").reason == "TooLarge"
    done = fetch(site.file("/m", packed), "--max-files=3")
    assert done.reason == "TooLarge"
    assert "--max-files" in done.text


def test_no_space(site: Site, run: Run, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a small volume needs root")
    volume = tmp_path / "small"
    volume.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(volume)], check=False)
    if mounted.returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        # The announced size does not fit; then a size that fits and an unpacked model that does not.
        for content in (tar(model(bytes(2 << 20))), tar_gz(model(bytes(2 << 20)))):
            done = run(
                "fetch", f"--uri={site.file('/m', content)}", f"--destination={volume}/digits",
                f"--config-dir={volume}/.config", "--allow-address=127.0.0.1/32",
            )  # fmt: skip
            assert (done.code, done.reason) == (1, "NoSpace"), done.text
            assert tree(volume) == set()
    finally:
        subprocess.run(["umount", str(volume)], check=True)


def test_a_volume_that_cannot_be_written(site: Site, run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = run("fetch", f"--uri={site.url}", f"--destination={tmp_path}/file/digits", f"--config-dir={tmp_path}/c")
    assert (done.code, done.reason) == (1, "InternalError")


def test_sigterm_stops_a_download_and_cleans_up(site: Site, models: Path, environment: dict[str, str]) -> None:
    started, release = threading.Event(), threading.Event()

    def slow(handler: Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        started.set()
        release.wait(180)

    site.answers["/slow"] = slow
    with subprocess.Popen(
        [sys.executable, "-m", "slipway_tools", "fetch", f"--uri={site.url}/slow", f"--destination={models}/digits",
         f"--config-dir={models}/.config", "--allow-address=127.0.0.1/32"],
        env=environment, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert started.wait(90)
        process.send_signal(signal.SIGTERM)
        assert process.wait(90) == 128 + signal.SIGTERM
        release.set()
    assert tree(models) == set()
    assert not (models / ".fetch").exists()


def test_any_user_can_fetch_and_any_other_can_read_what_was_fetched(site: Site, run: Run) -> None:
    """The cluster may assign a user that no image knows; without one, server and fetch run as those of their images."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become somebody else")
    uri = site.file("/m", tar(model()))
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)  # an emptyDir
        os.seteuid(1000650000)
        try:
            done = run(
                "fetch", f"--uri={uri}", f"--destination={folder}/digits", f"--config-dir={folder}/.config",
                "--monitoring", "--allow-address=127.0.0.0/8", log=Path(folder, "log"),
            )  # fmt: skip
            os.seteuid(0)
            os.seteuid(1000)
            found = [path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()]
        finally:
            os.seteuid(0)
    assert done.code == 0, done.stderr
    assert len(found) >= len(model()) + 2
