"""Which images there are, what goes into each, and the key under which a finished build is kept.

The inputs are read from the Dockerfile's own .dockerignore, so that a plain `docker build` and this builder see the same.
"""

import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# containerd and Docker give a repository without a host this one.
REGISTRY = "docker.io"
# Part of every key: to be raised when the builder itself changes what comes out.
_RECIPE = "1"
_IGNORED = {"__pycache__"}


@dataclass(frozen=True, slots=True)
class Image:
    """One image: its folder below images/ and the tags it is known by."""

    name: str
    tags: tuple[str, ...]

    @property
    def references(self) -> tuple[str, ...]:
        """Return the full names that manifests resolve to."""
        return tuple(f"{REGISTRY}/slipway/{self.name}:{tag}" for tag in self.tags)

    @property
    def dockerfile(self) -> Path:
        """Return the Dockerfile."""
        return ROOT / "images" / self.name / "Dockerfile"

    @property
    def ignorefile(self) -> Path:
        """Return the list of what the build may see."""
        return self.dockerfile.with_name("Dockerfile.dockerignore")

    def inputs(self) -> list[Path]:
        """Return every file of the build context, relative to the root of the repository, in a fixed order.

        Raises:
            FileNotFoundError: when something that the .dockerignore names is missing.
        """
        files: list[Path] = []
        for line in self.ignorefile.read_text().splitlines():
            if line.startswith("!"):
                path = ROOT / line[1:]
                found = [path] if path.is_file() else sorted(entry for entry in path.rglob("*") if entry.is_file())
                if not found:
                    raise FileNotFoundError(f"{self.ignorefile}: {line[1:]} is not there")
                files += [entry.relative_to(ROOT) for entry in found if not _IGNORED & set(entry.parts)]
        return sorted(files)

    def stage(self, context: Path) -> str:
        """Copy the inputs to the empty folder `context` and return the hash of what was copied.

        The build reads the copy, so an edit during the build cannot end up under the key of the old content.
        """
        digest = hashlib.sha256(f"{_RECIPE}\0{self.references}".encode())
        for relative in [*self.inputs(), self.dockerfile.relative_to(ROOT), self.ignorefile.relative_to(ROOT)]:
            target = context / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / relative, target)
            executable = os.access(target, os.X_OK)
            digest.update(f"{relative}\0{executable}\0".encode() + hashlib.sha256(target.read_bytes()).digest())
        return digest.hexdigest()


def _version(file: str, pattern: str) -> str:
    match = re.search(pattern, (ROOT / file).read_text(), re.MULTILINE)
    if match is None:
        raise ValueError(f"{file} names no version")
    return match.group(1)


def images() -> dict[str, Image]:
    """Return all images by name; the project's version comes from pyproject.toml."""
    version = _version("pyproject.toml", r'^version = "([^"]+)"$')
    # The version of tensorflow/serving whose contract the drop-in keeps; here the GPU image is the same one.
    serving = _version("images/model-server/Dockerfile", r"^ARG VERSION=(\S+)$")
    known = (
        Image("operator", (version,)),
        Image("tools", (version,)),
        Image("model-server", (serving, f"{serving}-gpu")),
    )
    return {image.name: image for image in known}
