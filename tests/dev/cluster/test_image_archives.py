"""Archives are read before they are imported; names are those that containerd will look for."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from dev.cluster.nodes.image_archives import Image, Store, normalize, program_archive, read_archive
from dev.errors import DevError


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("slipway/tools:0.1.0", "docker.io/slipway/tools:0.1.0"),
        ("busybox", "docker.io/library/busybox:latest"),
        ("docker.io/slipway/tools:1", "docker.io/slipway/tools:1"),
        ("localhost/tools:1", "localhost/tools:1"),
        ("registry:5000/tools", "registry:5000/tools:latest"),
        ("quay.io/a/b@sha256:00", "quay.io/a/b@sha256:00"),
    ],
)
def test_full_names(name: str, full: str) -> None:
    assert normalize(name) == full


def archive(folder: Path, files: dict[str, object]) -> Path:
    out = folder / "image.tar"
    with tarfile.open(out, "w") as tar:
        for name, content in files.items():
            data = json.dumps(content).encode()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out


def test_a_docker_archive(tmp_path: Path) -> None:
    file = archive(
        tmp_path, {"manifest.json": [{"Config": "abc.json", "RepoTags": ["slipway/tools:1", "slipway/tools:2"]}]}
    )
    assert read_archive(file) == [Image("slipway/tools:1", "config:abc"), Image("slipway/tools:2", "config:abc")]


def test_an_oci_archive(tmp_path: Path) -> None:
    entry = {"digest": "sha256:12", "annotations": {"org.opencontainers.image.ref.name": "slipway/tools:1"}}
    file = archive(tmp_path, {"index.json": {"manifests": [entry, {"digest": "sha256:13"}]}})
    assert read_archive(file) == [Image("slipway/tools:1", "sha256:12")]


def test_an_archive_with_both_goes_by_the_full_name(tmp_path: Path) -> None:
    """What `docker save` writes today: the OCI index knows only the tag."""
    entry = {"digest": "sha256:12", "annotations": {"org.opencontainers.image.ref.name": "1"}}
    docker = [{"Config": "blobs/sha256/abc", "RepoTags": ["slipway/tools:1"]}]
    file = archive(tmp_path, {"index.json": {"manifests": [entry]}, "manifest.json": docker})
    assert read_archive(file) == [Image("slipway/tools:1", "config:abc")]


def test_an_archive_without_a_name(tmp_path: Path) -> None:
    with pytest.raises(DevError, match=r"names no image\n.*oci-archive"):
        read_archive(archive(tmp_path, {"index.json": {"manifests": [{"digest": "sha256:12"}]}}))


def test_a_file_that_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "image.tar").write_text("hello")
    with pytest.raises(DevError, match="is not an image archive"):
        read_archive(tmp_path / "image.tar")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DevError, match="there is no image archive"):
        read_archive(tmp_path / "image.tar")


def test_the_archive_of_a_program_is_the_same_every_time_and_can_be_read(tmp_path: Path) -> None:
    program = tmp_path / "pause"
    program.write_bytes(b"\x7fELF")
    first, second = (program_archive(program, "amd64", "slipway/pause:1") for _ in range(2))
    assert first == second
    (tmp_path / "image.tar").write_bytes(first)
    assert [image.name for image in read_archive(tmp_path / "image.tar")] == ["slipway/pause:1"]
    program.write_bytes(b"\x7fELF2")
    assert program_archive(program, "amd64", "slipway/pause:1") != first


def test_nothing_answers_at_the_socket(tmp_path: Path) -> None:
    file = archive(tmp_path, {"manifest.json": [{"Config": "abc.json", "RepoTags": ["slipway/tools:1"]}]})
    with pytest.raises(DevError, match="ctr"):
        Store(tmp_path / "no.sock", tmp_path / "notes.json").load(file)
