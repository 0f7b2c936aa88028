"""The image builder without building: inputs, keys, choice of builder, secrets, pruning; and archives with real ones."""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from images import base, build, builders, secrets
from images.archive import pack
from images.catalog import ROOT, Image, images
from images.run import BuildError, logged, output_of

NAMES = ["operator", "tools", "model-server"]
STUBS = ROOT / "images" / "tools" / "stubs.py"


@dataclass
class Recorder:
    """A builder that writes what it was given, so that the bookkeeping around it can be watched."""

    key: str = "base"
    built: list[str] = field(default_factory=list)
    name: str = "recorder"

    def base_key(self) -> str:
        return self.key

    def build(self, image: Image, context: Path, secrets: Mapping[str, Path], archive: Path) -> None:
        self.built.append(image.name)
        assert (context / "images" / image.name / "Dockerfile").is_file()
        assert secrets["pip"].stat().st_mode & 0o777 == 0o600
        archive.write_text(image.name)
        archive.with_suffix(".log").write_text("log")


def dockerfile(name: str) -> str:
    return images()[name].dockerfile.read_text()


def test_the_names_in_manifests() -> None:
    assert {name: image.references for name, image in images().items()} == {
        "operator": ("docker.io/slipway/operator:0.1.0",),
        "tools": ("docker.io/slipway/tools:0.1.0",),
        "model-server": ("docker.io/slipway/model-server:2.20.0", "docker.io/slipway/model-server:2.20.0-gpu"),
    }


@pytest.mark.parametrize("name", NAMES)
def test_every_image_runs_as_nobody_from_a_base_that_can_be_chosen(name: str) -> None:
    lines = dockerfile(name).splitlines()
    assert "ARG BASE_IMAGE=python:3.11-slim-bookworm" in lines
    assert {line.split()[1] for line in lines if line.startswith("FROM ")} == {"${BASE_IMAGE}"}
    final = lines[max(number for number, line in enumerate(lines) if line.startswith("FROM ")) :]
    assert "USER 65532:65532" in final
    # Any other user will do as well, as in OpenShift: nothing belongs to this one, and its home is where all may write.
    assert any(line.strip().startswith("HOME=/tmp") for line in final)
    assert "chown" not in dockerfile(name)
    assert "chmod -R a+rX /opt/slipway" in dockerfile(name)
    assert any(line.startswith("ENTRYPOINT [") for line in final)
    assert "--require-hashes" in dockerfile(name)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_dockerfile_copies_is_among_its_inputs(name: str) -> None:
    inputs = {str(path) for path in images()[name].inputs()}
    for line in re.findall(r"^COPY (?!--from)(.+)$", dockerfile(name), re.MULTILINE):
        *sources, _ = [word for word in line.split() if not word.startswith("--")]
        for source in sources:
            assert any(path == source or path.startswith(f"{source}/") for path in inputs), source


@pytest.mark.parametrize(
    ("name", "unwanted"), [("operator", "tensorflow|keras|numpy|grpcio"), ("tools", "tensorflow|keras")]
)
def test_no_tensorflow_where_none_is_needed(name: str, unwanted: str) -> None:
    requirements = (ROOT / "requirements" / f"{name}.txt").read_text()
    assert not re.search(f"^({unwanted})", requirements, re.MULTILINE)
    assert "model-server.txt" not in re.sub(r".*stubs.py.*", "", dockerfile(name))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one small image."""
    root = tmp_path / "project"
    (root / "images" / "tools").mkdir(parents=True)
    (root / "code").mkdir()
    (root / "code" / "a.py").write_text("a")
    (root / "images" / "tools" / "Dockerfile").write_text("FROM scratch")
    (root / "images" / "tools" / "Dockerfile.dockerignore").write_text("*\n!code\n**/__pycache__\n")
    monkeypatch.setattr("images.catalog.ROOT", root)
    return root


TOOLS = Image("tools", ("1",))


def staged(tmp_path: Path) -> str:
    context = tmp_path / "context"
    shutil.rmtree(context, ignore_errors=True)
    context.mkdir()
    return TOOLS.stage(context)


def test_the_key_follows_content_name_and_mode_and_nothing_else(project: Path, tmp_path: Path) -> None:
    before = staged(tmp_path)
    os.utime(project / "code" / "a.py", (0, 0))
    (project / "code" / "__pycache__").mkdir()
    (project / "code" / "__pycache__" / "a.pyc").write_text("compiled")
    (project / "unrelated").write_text("x")
    assert staged(tmp_path) == before
    assert not (tmp_path / "context" / "unrelated").exists()
    keys = {before}
    for change in (
        lambda: (project / "code" / "a.py").write_text("b"),
        lambda: (project / "code" / "a.py").chmod(0o755),
        lambda: (project / "code" / "a.py").rename(project / "code" / "b.py"),
        lambda: (project / "images" / "tools" / "Dockerfile").write_text("FROM other"),
    ):
        change()
        keys.add(staged(tmp_path))
    assert len(keys) == 5


def test_an_input_that_is_missing(project: Path, tmp_path: Path) -> None:
    shutil.rmtree(project / "code")
    with pytest.raises(FileNotFoundError, match="code is not there"):
        staged(tmp_path)


def test_an_unchanged_image_is_not_built_again(tmp_path: Path) -> None:
    recorder = Recorder()
    first, second = (list(build.build(["tools", "operator"], recorder, tmp_path)) for _ in range(2))
    assert recorder.built == ["tools", "operator"]
    assert [done.cached for done in first + second] == [False, False, True, True]
    assert [done.archive for done in first] == [done.archive for done in second]
    list(build.build(["tools"], Recorder(key="other base"), tmp_path))
    assert len(list(tmp_path.glob("tools-*.tar"))) == 2


def test_old_archives_go(tmp_path: Path) -> None:
    stranger = tmp_path / "tools-mine.tar"
    stranger.write_text("not an archive of ours")
    for number in range(4):
        (done,) = build.build(["tools"], Recorder(key=str(number)), tmp_path)
        os.utime(done.archive, (number, number))
    kept = {path.name for path in tmp_path.iterdir()}
    assert Path(done.archive).name in kept
    assert len(kept) == 5
    assert stranger.exists()


def test_a_failed_build_leaves_no_archive_and_shows_the_last_words(tmp_path: Path) -> None:
    class Failing(Recorder):
        def build(self, image: Image, context: Path, secrets: Mapping[str, Path], archive: Path) -> None:
            logged(["sh", "-c", "echo compiling; echo no such package >&2; exit 3"], archive.with_suffix(".log"))

    with pytest.raises(BuildError, match=r"(?s)no such package.*exit code 3.*whole log: .*tools-[0-9a-f]{12}\.log"):
        list(build.build(["tools"], Failing(), tmp_path))
    assert not list(tmp_path.glob("*.tar"))
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def options(**changed: object) -> argparse.Namespace:
    found = build._parser().parse_args([])
    for name, value in changed.items():
        setattr(found, name, value)
    return found


def test_docker_is_chosen_when_its_daemon_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "docker"
    program.write_text("#!/bin/sh\necho 28.2.2\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert build.choose(options(), tmp_path).name == "docker"
    program.write_text("#!/bin/sh\necho Cannot connect to the Docker daemon >&2\nexit 1\n")
    with pytest.raises(BuildError, match="no Docker daemon answers"):
        build.choose(options(builder="docker"), tmp_path)


def test_without_docker_and_root_the_message_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(BuildError, match="needs root"):
        build.choose(options(builder="buildah"), tmp_path)


def test_missing_packages_are_named_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(builders, "missing_packages", lambda: ["buildah", "debootstrap"])
    with pytest.raises(BuildError, match="apt-get install --yes --no-install-recommends buildah debootstrap"):
        build.choose(options(builder="buildah"), tmp_path)


def docker_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, buildx: bool) -> list[str]:
    """Build the tools with a `docker` that records its arguments and writes what `save` is asked for."""
    program = tmp_path / "docker"
    program.write_text(
        f'#!/bin/sh\necho "${{DOCKER_BUILDKIT:-}} $@" >> {tmp_path}/calls\n'
        f'case "$1" in buildx) [ "$2" = version ] && exit {0 if buildx else 1};; save) echo tar > "$3";; esac\nexit 0\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    output = tmp_path / "output"
    output.mkdir()
    (done,) = build.build(["model-server"], builders.Docker("example/base:1"), output)
    assert Path(done.archive).read_text() == "tar\n"
    return (tmp_path / "calls").read_text().splitlines()


@pytest.mark.parametrize("buildx", [True, False])
def test_what_docker_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, buildx: bool) -> None:  # noqa: FBT001
    calls = docker_calls(tmp_path, monkeypatch, buildx=buildx)
    (command,) = [call for call in calls if " build " in call]
    assert command.startswith(" buildx build --load" if buildx else "1 build")
    for words in ("--build-arg BASE_IMAGE=example/base:1", "--tag docker.io/slipway/model-server:2.20.0-gpu", "id=pip"):
        assert words in command
    assert calls[-1].endswith("docker.io/slipway/model-server:2.20.0 docker.io/slipway/model-server:2.20.0-gpu")


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "choose", lambda *_: Recorder())
    assert build.main(["tools", f"--output={tmp_path}"]) == 0
    (path,) = capsys.readouterr().out.split()
    assert build.main(["tools", f"--output={tmp_path}", "--json"]) == 0
    (done,) = json.loads(capsys.readouterr().out)
    assert (done["archive"], done["cached"], done["references"]) == (path, True, ["docker.io/slipway/tools:0.1.0"])
    with pytest.raises(SystemExit):
        build.main(["toolz", f"--output={tmp_path}"])
    assert "unknown image: toolz" in capsys.readouterr().err


def test_pip_settings_of_the_host() -> None:
    listing = (
        ":env:.find-links='/opt/wheels'\nglobal.index-url='https://a.example/simple'\n"
        "install.index-url='https://b.example/simple'\n:env:.timeout='180'\nglobal.timeout='10'\nuser.x='1'\n"
    )
    assert secrets.pip_settings(listing) == {
        "find-links": "/opt/wheels", "index-url": "https://b.example/simple", "timeout": "180"
    }  # fmt: skip


def test_only_settings_that_mean_something_inside_a_build_are_handed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = "global.index-url='https://user:100%@a.example'\n:env:.find-links='/opt/wheels'"
    monkeypatch.setattr(secrets, "output_of", lambda _command: listing)
    authority = tmp_path / "ca.pem"
    authority.write_text("certificates")
    found = secrets.write(tmp_path, {"SSL_CERT_FILE": str(authority)})
    assert found == {"pip": tmp_path / "pip.conf", "ca": authority}
    assert found["pip"].read_text().splitlines() == [
        "[global]", "index-url = https://user:100%@a.example", "disable-pip-version-check = true",
        "root-user-action = ignore", "cert = /run/secrets/ca.crt", "",
    ]  # fmt: skip
    assert "ca" not in secrets.write(tmp_path, {"SSL_CERT_FILE": "/absent"})


def test_stubs_are_cut_out_of_a_wheel_with_everything_they_import(tmp_path: Path) -> None:
    site = tmp_path / "site"
    modules = {
        "tensorflow/core/protobuf/meta_graph_pb2.py": "from tensorflow.core.framework import graph_pb2 as g\n"
        "from google.protobuf import any_pb2 as a\n",
        "tensorflow/core/framework/graph_pb2.py": "from tensorflow.core.framework import node_def_pb2 as n\n",
        "tensorflow/core/framework/node_def_pb2.py": "",
        "tensorflow/core/framework/unrelated_pb2.py": "",
        "tensorflow_serving/apis/predict_pb2.py": "from tensorflow.core.framework import graph_pb2 as g\n",
        "tensorflow_serving/apis/get_model_metadata_pb2.py": "",
        "tensorflow/__init__.py": "raise RuntimeError('all of TensorFlow')",
    }
    for name, content in modules.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(content)
    command = [sys.executable, str(STUBS), "--site-packages", str(site), "--output", str(tmp_path / "out")]
    subprocess.run(command, check=True, capture_output=True)
    written = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*_pb2.py")}
    assert written == {name for name in modules if name.endswith("_pb2.py")} - {
        "tensorflow/core/framework/unrelated_pb2.py"
    }
    assert (tmp_path / "out" / "tensorflow" / "__init__.py").read_text() == ""


def test_the_wheel_for_the_stubs_is_the_pinned_one(tmp_path: Path) -> None:
    code = "import sys, pathlib; sys.path.insert(0, sys.argv[1]); import stubs; print(stubs.pinned([pathlib.Path(name) for name in sys.argv[2:]]))"
    requirements = [ROOT / "requirements" / f"{name}.txt" for name in ("model-server", "serving-api")]
    done = subprocess.run(
        [sys.executable, "-c", code, str(STUBS.parent), *map(str, requirements)],
        capture_output=True,
        text=True,
        check=True,
    )
    names = {line.split("==")[0] for line in done.stdout.splitlines() if "==" in line}
    assert names == {"tensorflow", "tensorflow-cpu", "tensorflow-serving-api"}
    assert all(line.lstrip().startswith(("--hash=sha256:", "tensorflow")) for line in done.stdout.split("\n") if line)


def test_a_base_is_made_anew_when_its_recipe_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {base.Base().key, base.Base(suite="trixie").key}
    assert base.Base(mirror="http://mirror.example").key in keys
    monkeypatch.setattr(base, "PACKAGES", ("python3",))
    assert base.Base().key not in keys


def test_clean_removes_what_builds_leave_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    list(build.build(["tools"], Recorder(), tmp_path))
    (tmp_path / "tools-0.oci" / "blobs").mkdir(parents=True)
    (tmp_path / "base-bookworm-0.tar").write_text("base")
    (tmp_path / "notes.txt").write_text("mine")
    assert build.main([f"--output={tmp_path}", "--clean"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {".lock", "notes.txt"}


@pytest.mark.slow
def test_an_archive_is_read_with_every_name_by_those_who_import_it(tmp_path: Path) -> None:
    if os.geteuid() != 0 or shutil.which("buildah") is None:
        pytest.skip("needs root and buildah")
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY file /file\nCOPY file /again\nUSER 65532\n")
    (tmp_path / "file").write_text("content")
    store = ["--root", str(tmp_path / "store"), "--runroot", str(tmp_path / "run"), "--storage-driver", "vfs"]
    log, layout, archive = tmp_path / "log", tmp_path / "layout", tmp_path / "archive.tar"
    logged(["buildah", *store, "bud", "--isolation", "chroot", "--tag", "localhost/one:1", str(tmp_path)], log)
    logged(["buildah", *store, "push", "localhost/one:1", f"oci:{layout}:image"], log)
    pack(layout, ["docker.io/slipway/x:1", "docker.io/slipway/x:1-gpu"], archive)
    for reference in ("docker.io/slipway/x:1", "docker.io/slipway/x:1-gpu"):
        logged(["buildah", *store, "pull", f"docker-archive:{archive}:{reference}"], log)
        assert output_of(["buildah", *store, "images", "--quiet", reference])
    with tarfile.open(archive) as content:
        index = json.load(content.extractfile("index.json") or pytest.fail("no index"))
        names = content.getnames()
    assert len(names) == len(set(names))
    assert {entry["annotations"]["io.containerd.image.name"] for entry in index["manifests"]} == {
        "docker.io/slipway/x:1", "docker.io/slipway/x:1-gpu"
    }  # fmt: skip
