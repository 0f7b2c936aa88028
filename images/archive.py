"""Turns an OCI layout into one archive that `ctr images import`, `docker load` and `kind load image-archive` all take.

The archive is an OCI layout whose index names the image once for each of its references, plus the manifest.json of
`docker save`. No blob is read twice and none is rewritten.
"""

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def pack(layout: Path, references: Sequence[str], archive: Path) -> None:
    """Write `archive` (replaced atomically) from the OCI layout in the folder `layout`."""
    index = json.loads((layout / "index.json").read_text())
    (descriptor,) = index["manifests"]
    manifest = json.loads(_blob(layout, descriptor).read_text())
    index["manifests"] = [descriptor | {"annotations": _annotations(reference)} for reference in references]
    config, layers = _name(manifest["config"]), [_name(layer) for layer in manifest["layers"]]
    docker = {"Config": config, "RepoTags": list(references), "Layers": layers}
    temporary = archive.with_suffix(".new")
    with tarfile.open(temporary, "w") as out:
        _add(out, "oci-layout", (layout / "oci-layout").read_bytes())
        _add(out, "index.json", json.dumps(index).encode())
        _add(out, "manifest.json", json.dumps([docker]).encode())
        # Once each: two equal layers are one blob.
        for blob in dict.fromkeys([_name(descriptor), config, *layers]):
            with (layout / blob).open("rb") as content:
                entry = tarfile.TarInfo(blob)
                entry.size, entry.mode = (layout / blob).stat().st_size, 0o644
                out.addfile(entry, content)
    temporary.rename(archive)


def _annotations(reference: str) -> dict[str, str]:
    tag = reference.rpartition(":")[2]
    return {"io.containerd.image.name": reference, "org.opencontainers.image.ref.name": tag}


def _name(descriptor: dict[str, Any]) -> str:
    algorithm, _, value = str(descriptor["digest"]).partition(":")
    return f"blobs/{algorithm}/{value}"


def _blob(layout: Path, descriptor: dict[str, Any]) -> Path:
    return layout / _name(descriptor)


def _add(out: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o644
    out.addfile(entry, io.BytesIO(content))
