"""Builds Slipway's images into archives that a cluster can import without a registry.

    python -m images.build                     all three, with what this machine has: Docker, or buildah as root
    python -m images.build tools --json        one of them; stdout has a JSON list instead of paths

An archive is named after a hash of everything that went into it; what is there already is not built again.
"""

import argparse
import fcntl
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from images import base, builders, secrets
from images.catalog import Image, images
from images.clean import clean
from images.run import BuildError, Timer, say

# The finished archives of an image that are kept: the current one and one to go back to.
_KEPT = 2


@dataclass(frozen=True, slots=True)
class Built:
    """One finished image: its references, its archive, the size in bytes, and whether it was there already."""

    name: str
    references: tuple[str, ...]
    archive: str
    bytes: int
    cached: bool
    seconds: float


def default_output() -> Path:
    """Return the folder of archives: a cache outside the repository."""
    cache = os.environ.get("SLIPWAY_CACHE")
    return (Path(cache) if cache else Path.home() / ".cache" / "slipway") / "images"


def build(names: Sequence[str], builder: builders.Builder, output: Path) -> Iterator[Built]:
    """Build the named images one after the other and yield each as it is done.

    Raises:
        BuildError: when a build fails; images finished before stay.
    """
    known = images()
    for name in names:
        yield _build(known[name], builder, output)


def _build(image: Image, builder: builders.Builder, output: Path) -> Built:
    timer = Timer()
    with tempfile.TemporaryDirectory(prefix=f".{image.name}-", dir=output) as folder:
        context = Path(folder, "context")
        context.mkdir()
        try:
            digest = image.stage(context)
        except FileNotFoundError as error:
            raise BuildError(str(error)) from None
        key = _key(digest, builder)
        archive = output / f"{image.name}-{key}.tar"
        cached = archive.is_file()
        if cached:
            # The order in which archives are pruned is that of their last use.
            os.utime(archive)
        else:
            say(f"==> {image.name}: building with {builder.name}, log {archive.with_suffix('.log')}")
            secret_folder = Path(folder, "secrets")
            secret_folder.mkdir(mode=0o700)
            builder.build(image, context, secrets.write(secret_folder), archive)
    _prune(image, output)
    built = Built(image.name, image.references, str(archive), archive.stat().st_size, cached, round(timer.seconds, 1))
    how = "is up to date" if cached else "is built"
    say(f"==> {image.name} {how}: {built.bytes / 1e6:.0f} MB, {built.seconds:.1f} s")
    return built


def _key(digest: str, builder: builders.Builder) -> str:
    return hashlib.sha256(f"{digest}\0{builder.name}\0{builder.base_key()}".encode()).hexdigest()[:12]


def _prune(image: Image, output: Path) -> None:
    pattern = f"{image.name}-{'[0-9a-f]' * 12}.tar"
    archives = sorted(output.glob(pattern), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in archives[_KEPT:]:
        old.unlink()
        old.with_suffix(".log").unlink(missing_ok=True)


@contextmanager
def _alone(output: Path) -> Iterator[None]:
    """Let one build at a time use the folder; another one waits."""
    with (output / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("    waiting for another build to end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def choose(arguments: argparse.Namespace, output: Path) -> builders.Builder:
    """Pick the builder.

    Raises:
        BuildError: when none can be used, naming what is missing.
    """
    if arguments.builder == "docker" or (arguments.builder == "auto" and builders.docker_answers()):
        if not builders.docker_answers():
            raise BuildError("no Docker daemon answers; start it, or use --builder buildah as root")
        return builders.Docker(arguments.base_image)
    builders.check_buildah(install_packages=arguments.install_packages, log=output / "install.log")
    debian = base.Base(arguments.debian_suite, arguments.debian_mirror)
    return builders.Buildah(arguments.base_image, debian, output)


def _parser() -> argparse.ArgumentParser:
    names = list(images())
    parser = argparse.ArgumentParser(
        prog="python -m images.build", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", nargs="*", metavar="IMAGE", help=f"{', '.join(names)} (default: all)")
    parser.add_argument("--builder", choices=["auto", "docker", "buildah"], default="auto")
    parser.add_argument("--output", type=Path, default=default_output(), help="folder of archives (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print a JSON list instead of the paths of the archives")
    parser.add_argument("--base-image", metavar="REF", help="base image to use instead of the default")
    parser.add_argument("--debian-suite", default=base.SUITE, help="for the base made by debootstrap (%(default)s)")
    parser.add_argument("--debian-mirror", default=os.environ.get("SLIPWAY_DEBIAN_MIRROR", ""), metavar="URL")
    parser.add_argument(
        "--clean", action="store_true", help="remove archives, base and cached layers, and build nothing"
    )
    parser.add_argument("--install-packages", action="store_true", help="as root: install missing Debian packages")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    unknown = set(arguments.images) - set(images())
    if unknown:
        parser.error(f"unknown image: {', '.join(sorted(unknown))}; there is: {', '.join(images())}")
    output: Path = arguments.output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    try:
        with _alone(output):
            if arguments.clean:
                clean(output)
                return 0
            builder = choose(arguments, output)
            done = list(build(arguments.images or list(images()), builder, output))
    except BuildError as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        say("stopped")
        return 130
    if arguments.json:
        print(json.dumps([asdict(built) for built in done], indent=2))
    else:
        print("\n".join(built.archive for built in done))
    return 0


if __name__ == "__main__":
    sys.exit(main())
