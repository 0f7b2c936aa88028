"""An image whose server ends as soon as it starts: one layer on top of the tools image, loaded into the cluster."""

import hashlib
import io
import json
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from dev.repository import ROOT
from dev.shell import python, run
from images import archive
from images.build import default_output

REFERENCE = "slipway/e2e-broken-server:1"
LAST_WORDS = "the licence of this server has run out"
_FULL = f"docker.io/{REFERENCE}"
_PROGRAM = f"#!/bin/sh\necho '{LAST_WORDS}' >&2\nexit 3\n".encode()
_LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"


def load(cluster: str) -> None:
    """Make the image and bring it into a cluster; one that is there already is kept.

    Any tools image that was built will do: nothing of it but a shell is used.
    """
    tools = max(default_output().glob("tools-*.tar"), key=lambda path: path.stat().st_mtime)
    with tempfile.TemporaryDirectory() as scratch:
        layout = Path(scratch) / "layout"
        with tarfile.open(tools) as packed:
            packed.extractall(layout, filter="data")
        _add_layer(layout, _layer())
        archive.pack(layout, [_FULL], Path(scratch) / "broken.tar")
        run(
            python("-m", "dev.cluster", "load", f"--name={cluster}", str(Path(scratch) / "broken.tar")),
            cwd=ROOT,
            timeout=300,
        )


def _layer() -> bytes:
    """Return a tar with the program; the same bytes each time."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as layer:
        member = tarfile.TarInfo("usr/local/bin/tensorflow_model_server")
        member.size, member.mode = len(_PROGRAM), 0o755
        layer.addfile(member, io.BytesIO(_PROGRAM))
    return buffer.getvalue()


def _add_layer(layout: Path, layer: bytes) -> None:
    index = json.loads((layout / "index.json").read_text())
    manifest = _read(layout, index["manifests"][0])
    config = _read(layout, manifest["config"])
    added = _write(layout, layer)
    config["rootfs"]["diff_ids"].append(added["digest"])
    config.setdefault("history", []).append({"created_by": "e2e.lib.broken_image"})
    manifest["layers"].append(added | {"mediaType": _LAYER_TYPE})
    manifest["config"] |= _write(layout, json.dumps(config).encode())
    index["manifests"] = [index["manifests"][0] | _write(layout, json.dumps(manifest).encode())]
    (layout / "index.json").write_text(json.dumps(index))


def _read(layout: Path, descriptor: dict[str, Any]) -> dict[str, Any]:
    found = json.loads((layout / "blobs" / "sha256" / descriptor["digest"].removeprefix("sha256:")).read_text())
    assert isinstance(found, dict)
    return found


def _write(layout: Path, content: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    (layout / "blobs" / "sha256" / digest).write_bytes(content)
    return {"digest": f"sha256:{digest}", "size": len(content)}
