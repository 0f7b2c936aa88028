"""Removes what building has left on this machine: archives, the base, and buildah's images and cached layers."""

import shutil
from pathlib import Path

from images import base
from images.catalog import images
from images.run import output_of, say

_PATTERNS = ("*.tar", "*.log", "*.new", "*.oci", "*.rootfs", "*.context", ".*-*")


def clean(output: Path) -> None:
    """Remove the archives below `output` and, where buildah is used, our images with the layers only they have."""
    freed = 0
    for path in {path for pattern in _PATTERNS for path in output.glob(pattern)}:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            freed += path.stat().st_size
            path.unlink()
    if shutil.which("buildah") is not None:
        references = [reference for image in images().values() for reference in image.references]
        bases = (output_of(["buildah", "images", "--format", "{{.Name}}:{{.Tag}}", base.REPOSITORY]) or "").split()
        for reference in [*references, *bases]:
            output_of(["buildah", "rmi", "--force", reference], timeout=120)
        output_of(["buildah", "rmi", "--prune"], timeout=600)
    say(f"==> removed: {freed / 1e6:.0f} MB of archives, and the layers in buildah's store")
