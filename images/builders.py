"""The two ways to build: Docker where its daemon answers, else buildah as root without any daemon or registry."""

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from images import base
from images.archive import pack
from images.catalog import Image
from images.run import BuildError, logged, output_of

# Debian package -> the program that shows it is there.
_PACKAGES = {"buildah": "buildah", "debootstrap": "debootstrap", "debian-archive-keyring": None}
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_STEP = re.compile(r"^(\[\d+/\d+\] )?STEP \d+/\d+: (COPY|RUN|FROM)|^#\d+ \[")


class Builder(Protocol):
    """Builds an image from a staged context into an archive file."""

    @property
    def name(self) -> str:
        """Return what the builder is called on the screen."""

    def base_key(self) -> str:
        """Return what identifies the base image; part of the key of every build."""

    def build(self, image: Image, context: Path, secrets: Mapping[str, Path], archive: Path) -> None:
        """Build and write the archive; progress goes to a log file next to it.

        Raises:
            BuildError: with the builder's last words.
        """


def _arguments(image: Image, context: Path, secrets: Mapping[str, Path]) -> list[str]:
    dockerfile = context / "images" / image.name / "Dockerfile"
    hidden = [word for key, path in secrets.items() for word in ("--secret", f"id={key},src={path}")]
    tags = [word for reference in image.references for word in ("--tag", reference)]
    return ["--file", str(dockerfile), "--build-arg", f"VERSION={image.tags[0]}", *hidden, *tags]


def _step(line: str) -> str | None:
    return line if _STEP.match(line) else None


@dataclass(frozen=True)
class Docker:
    """Docker with BuildKit; the images are also left in the daemon."""

    base_image: str | None
    name: str = "docker"

    def base_key(self) -> str:
        """Return the name of the base: the Dockerfiles' own default unless one was given."""
        return self.base_image or ""

    def build(self, image: Image, context: Path, secrets: Mapping[str, Path], archive: Path) -> None:
        """Build with `docker buildx build --load` and save; see `Builder`."""
        log = archive.with_suffix(".log")
        arguments = [*_arguments(image, context, secrets), "--progress", "plain"]
        if self.base_image is not None:
            arguments += ["--build-arg", f"BASE_IMAGE={self.base_image}"]
        if output_of(["docker", "buildx", "version"]) is not None:
            logged(["docker", "buildx", "build", "--load", *arguments, str(context)], log, show=_step)
        else:
            environment = {**os.environ, "DOCKER_BUILDKIT": "1"}
            logged(["docker", "build", *arguments, str(context)], log, show=_step, environment=environment)
        temporary = archive.with_suffix(".new")
        logged(["docker", "save", "--output", str(temporary), *image.references], log)
        temporary.rename(archive)


@dataclass(frozen=True)
class Buildah:
    """buildah in chroot isolation: needs root, and neither a daemon nor nested containers nor a registry."""

    base_image: str | None
    debian: base.Base
    cache: Path
    name: str = "buildah"

    def base_key(self) -> str:
        """Return the given base, or the key of the one that debootstrap makes."""
        return self.base_image or self.debian.reference

    def build(self, image: Image, context: Path, secrets: Mapping[str, Path], archive: Path) -> None:
        """Build layer by layer, unchanged ones from buildah's cache; see `Builder`."""
        log = archive.with_suffix(".log")
        base_image = self.base_image or base.ensure(self.debian, self.cache, log)
        ignorefile = context / "images" / image.name / "Dockerfile.dockerignore"
        logged(
            ["buildah", "bud", "--isolation", "chroot", "--network", "host", "--layers", "--format", "oci",
             "--build-arg", f"BASE_IMAGE={base_image}", "--ignorefile", str(ignorefile),
             *_arguments(image, context, secrets), str(context)],
            log, show=_step,
        )  # fmt: skip
        layout = archive.with_suffix(".oci")
        shutil.rmtree(layout, ignore_errors=True)
        try:
            # zstd packs four times faster than gzip and unpacks faster still, at the same size.
            logged(["buildah", "push", "--compression-format", "zstd", image.references[0], f"oci:{layout}:image"], log)
            pack(layout, image.references, archive)
        finally:
            shutil.rmtree(layout, ignore_errors=True)


def docker_answers() -> bool:
    """Tell whether there is a Docker daemon to build with."""
    return shutil.which("docker") is not None and bool(
        output_of(["docker", "version", "--format", "{{.Server.Version}}"], timeout=10)
    )


def missing_packages() -> list[str]:
    """Return the Debian packages that building without Docker lacks here."""
    return [
        package
        for package, program in _PACKAGES.items()
        if not (
            shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin")
            if program
            else _KEYRING.is_file()
        )
    ]


def install(packages: Sequence[str], log: Path) -> None:
    """Install Debian packages.

    Raises:
        BuildError: when apt-get fails.
    """
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # apt-get gives up where another one runs, such as that of dev.cluster, which takes this lock too.
    apt_get = ["flock", "/run/lock/slipway-apt", "apt-get"]
    logged([*apt_get, "update"], log, environment=environment)
    logged([*apt_get, "install", "--yes", "--no-install-recommends", *packages], log, environment=environment)


def check_buildah(*, install_packages: bool, log: Path) -> None:
    """Make sure that buildah can be used.

    Raises:
        BuildError: naming what is missing and the command that helps.
    """
    if os.geteuid() != 0:
        raise BuildError(
            "no Docker daemon answers, and buildah needs root here: start Docker, or run this as root (sudo)"
        )
    missing = missing_packages()
    if missing and install_packages:
        install(missing, log)
        missing = missing_packages()
    if missing:
        raise BuildError(
            f"no Docker daemon answers, and building without one needs: {', '.join(missing)}\n"
            f"install with: apt-get install --yes --no-install-recommends {' '.join(missing)}\n"
            "or let this command do it: --install-packages"
        )
