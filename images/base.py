"""The base image where no registry is at hand: a minimal Debian with Python, made by debootstrap and kept."""

import hashlib
import platform
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path

from images.run import BuildError, Timer, logged, output_of, say

SUITE = "bookworm"
PACKAGES = ("python3", "python3-venv", "ca-certificates")
REPOSITORY = "localhost/slipway-base"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
# What no container needs; copyright notices stay.
_DROPPED = (
    "var/cache/apt", "var/cache/debconf", "var/lib/apt/lists", "var/log", "usr/share/man", "usr/share/info",
    "usr/share/locale", "usr/share/lintian", "usr/share/bug", "dev",
)  # fmt: skip
_DOCKERFILE = """FROM scratch
ADD rootfs.tar /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8
CMD ["python3"]
"""


@dataclass(frozen=True, slots=True)
class Base:
    """Which base to make: Debian's suite and the mirror of its packages; empty for the one that debootstrap takes itself."""

    suite: str = SUITE
    mirror: str = ""

    @property
    def key(self) -> str:
        """Return the key of the finished base."""
        recipe = "\0".join([self.suite, *PACKAGES, *_DROPPED, _DOCKERFILE, platform.machine()])
        return hashlib.sha256(recipe.encode()).hexdigest()[:12]

    @property
    def reference(self) -> str:
        """Return the name under which buildah knows the base."""
        return f"{REPOSITORY}:{self.suite}-{self.key}"


def ensure(base: Base, cache: Path, log: Path) -> str:
    """Make sure that buildah has the base image, and return its reference.

    Raises:
        BuildError: when debootstrap or buildah fails.
    """
    if output_of(["buildah", "images", "--quiet", base.reference]):
        return base.reference
    archive = cache / f"base-{base.suite}-{base.key}.tar"
    if not archive.is_file():
        _debootstrap(base, archive, log)
    context = archive.with_suffix(".context")
    shutil.rmtree(context, ignore_errors=True)
    context.mkdir()
    try:
        (context / "Dockerfile").write_text(_DOCKERFILE)
        (context / "rootfs.tar").hardlink_to(archive)
        logged(["buildah", "bud", "--isolation", "chroot", "--tag", base.reference, str(context)], log)
    finally:
        shutil.rmtree(context, ignore_errors=True)
    return base.reference


def _debootstrap(base: Base, archive: Path, log: Path) -> None:
    timer = Timer()
    architecture = _ARCHITECTURES.get(platform.machine())
    if architecture is None:
        raise BuildError(f"no base image is known for {platform.machine()}; name one with --base-image")
    say(f"==> base image: Debian {base.suite} with Python (debootstrap, about a minute)")
    root = archive.with_suffix(".rootfs")
    shutil.rmtree(root, ignore_errors=True)
    try:
        logged(
            ["debootstrap", "--variant=minbase", f"--arch={architecture}", f"--include={','.join(PACKAGES)}",
             base.suite, str(root), *([base.mirror] if base.mirror else [])],
            log, show=_step,
        )  # fmt: skip
        _trim(root)
        temporary = archive.with_suffix(".new")
        with tarfile.open(temporary, "w") as out:
            for entry in sorted(root.iterdir()):
                out.add(entry, arcname=entry.name, filter=_numeric)
        temporary.rename(archive)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    say(f"    base image ready: {archive.stat().st_size / 1e6:.0f} MB in {timer.seconds:.0f} s")


def _step(line: str) -> str | None:
    return (
        line
        if line.startswith(("I: Retrieving Packages", "I: Unpacking the base", "I: Configuring the base"))
        else None
    )


def _trim(root: Path) -> None:
    for name in _DROPPED:
        for entry in (root / name).glob("*"):
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
    for entry in (root / "usr/share/doc").rglob("*"):
        if (entry.is_file() or entry.is_symlink()) and entry.name != "copyright":
            entry.unlink()


def _numeric(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uname = entry.gname = ""
    return entry
