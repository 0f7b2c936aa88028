"""Container images in archives: what is in one, how the node calls it, and getting it into containerd.

Nothing is pulled: a local cluster has no way to a registry.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dev.errors import DevError
from dev.shell import run

_IMPORT_SECONDS = 600
_REF_NAMES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")


@dataclass(frozen=True)
class Image:
    """One image of an archive: the name written there, and the digest that changes when its content does."""

    name: str
    digest: str


def normalize(name: str) -> str:
    """The full name that containerd keeps: `slipway/tools:0.1.0` is `docker.io/slipway/tools:0.1.0`."""
    first, slash, _ = name.partition("/")
    if not slash:
        name = f"docker.io/library/{name}"
    elif not ("." in first or ":" in first or first == "localhost"):
        name = f"docker.io/{name}"
    last = name.rpartition("/")[2]
    return name if ":" in last or "@" in last else f"{name}:latest"


def read_archive(archive: Path) -> list[Image]:
    """The images in an OCI or docker archive. Raises DevError when it is neither, or names no image."""
    try:
        with tarfile.open(archive) as tar:
            images = _oci_images(tar) or _docker_images(tar)
    except FileNotFoundError:
        raise DevError(f"there is no image archive {archive}") from None
    except (tarfile.TarError, ValueError, KeyError, TypeError, OSError) as error:
        raise DevError(f"{archive} is not an image archive: {error}") from error
    if not images:
        raise DevError(
            f"{archive} names no image",
            "Save it with a name: `docker save NAME:TAG -o FILE`, `buildah push IMAGE oci-archive:FILE:NAME:TAG`.",
        )
    return images


def _oci_images(tar: tarfile.TarFile) -> list[Image]:
    index = _member(tar, "index.json")
    found = []
    for entry in (index or {}).get("manifests", []):
        notes = entry.get("annotations") or {}
        name = next((notes[key] for key in _REF_NAMES if notes.get(key)), "")
        if "/" in name or ":" in name:  # a bare tag does not say which image it is the tag of
            found.append(Image(name, entry["digest"]))
    return found


def _docker_images(tar: tarfile.TarFile) -> list[Image]:
    manifest = _member(tar, "manifest.json") or []
    return [
        Image(tag, f"config:{Path(entry['Config']).name.removesuffix('.json')}")
        for entry in manifest
        for tag in entry.get("RepoTags") or []
    ]


def _member(tar: tarfile.TarFile, name: str) -> Any:
    try:
        file = tar.extractfile(name)
    except KeyError:
        return None
    return json.load(file) if file is not None else None


def program_archive(program: Path, architecture: str, name: str) -> bytes:
    """A docker archive of the image that holds one static program and nothing else; the same bytes for the same."""
    layer = _tar({program.name: program.read_bytes()}, mode=0o755)
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {"Entrypoint": [f"/{program.name}"], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    text = json.dumps(config, sort_keys=True).encode()
    config_name = f"{hashlib.sha256(text).hexdigest()}.json"
    manifest = json.dumps([{"Config": config_name, "RepoTags": [name], "Layers": ["layer.tar"]}]).encode()
    return _tar({config_name: text, "layer.tar": layer, "manifest.json": manifest})


def _tar(files: Mapping[str, bytes], mode: int = 0o644) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), mode
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


class Store:
    """The images of one containerd, and a note of which archive each of them came from."""

    def __init__(self, socket: Path, notes: Path) -> None:
        self._ctr = ["ctr", "--address", str(socket), "--namespace", "k8s.io", "images"]
        self._notes = notes

    def present(self) -> dict[str, str]:
        """Digest by name of every image that is there."""
        rows = run([*self._ctr, "list"]).splitlines()[1:]
        return {words[0]: words[2] for words in map(str.split, rows) if len(words) > 2}  # noqa: PLR2004

    def load(self, archive: Path) -> list[str]:
        """Imports an archive unless everything in it is there already; returns the names that were imported."""
        images = read_archive(archive)
        notes = self._read_notes()
        have = self.present()
        if all(self._same(image, have, notes) for image in images):
            return []
        run([*self._ctr, "import", str(archive)], timeout=_IMPORT_SECONDS)
        have = self.present()
        for image in images:
            full = normalize(image.name)
            if image.name != full and image.name in have:
                run([*self._ctr, "tag", "--force", image.name, full])
                run([*self._ctr, "remove", image.name])
                have[full] = have[image.name]
            if full not in have:
                raise DevError(f"{archive} was imported, but containerd does not list {full}")
            notes[full] = [image.digest, have[full]]
        self._notes.write_text(json.dumps(notes, indent=2, sort_keys=True) + "\n")
        return [normalize(image.name) for image in images]

    def _same(self, image: Image, have: Mapping[str, str], notes: Mapping[str, list[str]]) -> bool:
        full = normalize(image.name)
        return full in have and notes.get(full) == [image.digest, have[full]]

    def _read_notes(self) -> dict[str, list[str]]:
        try:
            read = json.loads(self._notes.read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return read if isinstance(read, dict) else {}
