"""`slipway-tools fetch`: the init container that brings one version of a model into the pod.

source -> staging folder -> one version directory -> digest -> SavedModel check -> atomic rename -> record -> configs
                                                                                            golden set of the gate <-'

A version directory under its final name is therefore always complete and verified. After a restart of the container the
record says what is there; if the files still have the digest, nothing is fetched again.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from slipway_tools import configs, locate, savedmodel
from slipway_tools.archives import unpack
from slipway_tools.archives.writer import FOLDER_MODE, sync_folder, sync_tree
from slipway_tools.digest import Measured, measure
from slipway_tools.errors import ModelError, Reason
from slipway_tools.golden_fetch import GoldenSource, bring
from slipway_tools.layout import parse_version
from slipway_tools.limits import Limits
from slipway_tools.result import Fetched
from slipway_tools.sources import pvc
from slipway_tools.sources.http import Downloader, Policy
from slipway_tools.uri import Uri, parse

RECORD_FILE = "fetched.json"
_STAGING = ".fetch"
Log = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Pin:
    """What the first pod of this revision found; every other one serves exactly that."""

    version: int
    digest: str


@dataclass(frozen=True, slots=True)
class Request:
    """What the pod's template asks for; the fields are the command line's options, `pin` comes from the environment."""

    uri: str
    destination: Path
    config_dir: Path
    source: Path | None = None
    version: int | None = None
    digest: str | None = None
    monitoring: bool = False
    batching: str | None = None
    tags: frozenset[str] = savedmodel.DEFAULT_TAGS
    limits: Limits = field(default_factory=Limits)
    policy: Policy = field(default_factory=Policy)
    pin: Pin | None = None
    golden: GoldenSource | None = None

    @property
    def wanted(self) -> int | None:
        """Return the version to take; None for the highest."""
        return self.pin.version if self.version is None and self.pin is not None else self.version

    def key(self) -> str:
        """Return a fingerprint of the request; hashed, since a URI may carry a secret in its query."""
        fields = [self.uri, str(self.source), self.version, self.digest, sorted(self.tags)]
        return hashlib.sha256(json.dumps(fields).encode()).hexdigest()


def fetch(request: Request, log: Log) -> Fetched:
    """Bring the model to `request.destination`/VERSION, text protos and golden set to `request.config_dir`.

    Raises:
        ModelError: whatever went wrong that has a reason.
        OSError: from the destination volume.
    """
    found = _model(request, log)
    if request.golden is None:
        return found
    folder = request.destination / str(found.version)
    try:
        return replace(found, golden=bring(request.golden, folder, request.config_dir, request.policy, log))
    except ModelError:
        if request.golden.path is not None and request.pin is None and request.digest is None:
            # The set is a part of the model, whose copy may not have been complete: the next attempt takes all of it anew.
            (request.config_dir / RECORD_FILE).unlink(missing_ok=True)
        raise


def _model(request: Request, log: Log) -> Fetched:
    uri = parse(request.uri)
    texts = _config_files(request)
    staging = request.destination.parent / _STAGING
    shutil.rmtree(staging, ignore_errors=True)
    request.destination.mkdir(parents=True, exist_ok=True)
    done = _already_there(request)
    if done is not None:
        log(f"{uri.shown}: version {done.version} is here already, {done.digest}")
        configs.write(request.config_dir, texts)
        return done
    staging.mkdir()
    try:
        found = _bring(request, uri, staging, log)
        measured = measure(found.path)
        _refuse_change(request.pin, measured.digest, found.version, uri.shown)
        _approve(measured, found.path, request.digest, request.tags, uri.shown)
        _move(found, request.destination)
    except ModelError as error:
        raise _for_pin(error, request) from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    result = Fetched.of(measured, found.version)
    configs.write(request.config_dir, texts)
    _write_record(request, result)
    log(f"{uri.shown}: version {result.version}, {result.files} files, {result.bytes} bytes, {result.digest}")
    return result


def _refuse_change(pin: Pin | None, digest: str, version: int, what: str) -> None:
    """Refuse other content than the first pod of the revision found."""
    if pin is not None and (digest, version) != (pin.digest, pin.version):
        raise ModelError(
            Reason.SOURCE_CHANGED,
            f"spec.model.uri: {what} has changed since this revision was made: the revision serves version {pin.version}, "
            f"{pin.digest}; found: version {version}, {digest}. Restore the source, or change spec.model to make a new "
            "revision of what is there now (publish changed models under a new version)",
        )


def _for_pin(error: ModelError, request: Request) -> ModelError:
    """Add where the version number comes from if no user wrote it."""
    if error.reason is not Reason.VERSION_NOT_FOUND or request.pin is None or request.version is not None:
        return error
    return ModelError(
        error.reason,
        f"{error.message}; version {request.pin.version} is what this revision serves: restore it, or change spec.model to "
        "make a new revision",
    )


def verify(directory: Path, digest: str | None, tags: frozenset[str], what: str) -> Measured:
    """Check a version directory: its digest, if one is required, and then that a server can serve it.

    Raises:
        ModelError: DigestMismatch, NotASavedModel or NoSignatures.
    """
    measured = measure(directory)
    _approve(measured, directory, digest, tags, what)
    return measured


def _approve(measured: Measured, directory: Path, digest: str | None, tags: frozenset[str], what: str) -> None:
    if digest is not None and measured.digest != digest:
        raise ModelError(
            Reason.DIGEST_MISMATCH,
            f"spec.model.digest: {what} has {measured.digest}, not {digest}; "
            "the model changed after the digest was taken: correct the digest or publish the model under a new version",
        )
    savedmodel.check(directory, tags)


def _bring(request: Request, uri: Uri, staging: Path, log: Log) -> locate.Located:
    if uri.scheme == "pvc":
        if request.source is None:
            raise ModelError(
                Reason.INTERNAL_ERROR, "--source is missing: a pvc:// model is read from where its claim is mounted"
            )
        log(f"{uri.shown}: copying")
        return pvc.take(uri, request.source, staging, request.wanted, request.limits)
    archive, target = staging / "archive", staging / "unpacked"
    size = Downloader(request.policy, request.limits, log).download(uri, archive)
    log(f"{uri.shown}: {size} bytes downloaded, unpacking")
    target.mkdir()
    unpack(archive, target, request.limits)
    archive.unlink()
    return locate.locate(target, request.wanted)


def _move(found: locate.Located, destination: Path) -> None:
    """Rename the verified directory to its final name, and leave no other version: the server takes the highest it finds.

    What lies there is of an earlier start: interrupted, or from before the pin and of another version.
    """
    target = destination / str(found.version)
    shutil.rmtree(target, ignore_errors=True)
    for other in list(destination.iterdir()):
        if parse_version(other.name) is not None:
            shutil.rmtree(other)
    found.path.chmod(FOLDER_MODE)
    sync_tree(found.path)
    found.path.rename(target)
    sync_folder(destination)


def _config_files(request: Request) -> dict[str, str]:
    files = {configs.MONITORING_FILE: configs.monitoring()} if request.monitoring else {}
    if request.batching is not None:
        files[configs.BATCHING_FILE] = configs.batching(request.batching)
    return files


def _already_there(request: Request) -> Fetched | None:
    """Return what a former start of this container fetched, if its files are still what they were."""
    try:
        record = json.loads((request.config_dir / RECORD_FILE).read_text())
        if record["request"] != request.key():
            return None
        version = int(record["version"])
        measured = measure(request.destination / str(version))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if request.pin not in {None, Pin(version, measured.digest)}:
        return None
    return Fetched.of(measured, version) if measured.digest == record["digest"] else None


def _write_record(request: Request, result: Fetched) -> None:
    record = {"request": request.key(), "version": result.version, "digest": result.digest}
    temporary = request.config_dir / f".{RECORD_FILE}.new"
    temporary.write_text(json.dumps(record))
    temporary.replace(request.config_dir / RECORD_FILE)
    sync_folder(request.config_dir)
