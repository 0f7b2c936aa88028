"""Brings the golden set of a gate into the pod: one file, copied once, so that a later edit changes no running pod.

ConfigMap volume, download, claim or the model itself -> staging file -> size and digest -> atomic rename -> record
"""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from slipway_tools.archives.names import shown
from slipway_tools.archives.writer import create, sync, sync_folder
from slipway_tools.errors import ModelError, Reason
from slipway_tools.limits import CHUNK, MIB, Limits
from slipway_tools.sources import pvc
from slipway_tools.sources.http import Downloader, Policy
from slipway_tools.uri import parse

FILE = "golden"
RECORD_FILE = "golden.json"
MAX_BYTES = 64 * MIB
_FIELD = "spec.rollout.gate.golden"
_MAX_LISTED = 10
_STAGING = ".golden.new"
_REASONS = {
    Reason.SOURCE_NOT_FOUND: Reason.GOLDEN_NOT_FOUND,
    Reason.SOURCE_UNREACHABLE: Reason.GOLDEN_UNREACHABLE,
    Reason.SOURCE_FORBIDDEN: Reason.GOLDEN_FORBIDDEN,
    Reason.UNSUPPORTED_SCHEME: Reason.GOLDEN_FORBIDDEN,
    Reason.TOO_LARGE: Reason.GOLDEN_TOO_LARGE,
}


@dataclass(frozen=True, slots=True)
class GoldenSource:
    """Where the golden set is: a mounted ConfigMap, an address, or a path inside the model's version folder.

    Attributes:
        directory: where the ConfigMap is mounted; with `name` (of the ConfigMap) and `key` (None: its only one).
        name: see `directory`.
        key: see `directory`.
        uri: address of the file; with `mounted` (where the path of a pvc:// address is) and `digest` (of the file).
        mounted: see `uri`.
        digest: see `uri`.
        path: relative to the version folder.
    """

    directory: Path | None = None
    name: str = ""
    key: str | None = None
    uri: str | None = None
    mounted: Path | None = None
    digest: str | None = None
    path: str | None = None

    def fingerprint(self) -> str:
        """Return what identifies the request; hashed, since an address may carry a secret in its query."""
        fields = [str(self.directory), self.name, self.key, self.uri, str(self.mounted), self.digest, self.path]
        return hashlib.sha256(json.dumps(fields).encode()).hexdigest()


def bring(source: GoldenSource, version_folder: Path, target: Path, policy: Policy, log: Callable[[str], None]) -> str:
    """Copy the golden set to `target`/golden and return its digest (`sha256:…` of the file).

    What an earlier start of this container copied is kept, whatever the source has become since.

    Raises:
        ModelError: one of the Golden reasons.
        OSError: from the volume.
    """
    target.mkdir(parents=True, exist_ok=True)
    done = _already_there(source, target)
    if done is not None:
        log(f"golden set: here already, {done}")
        return done
    staging = target / _STAGING
    staging.unlink(missing_ok=True)
    try:
        _take(source, version_folder, staging, policy, log)
        digest = _digest(staging)
        if source.digest is not None and digest != source.digest:
            raise ModelError(
                Reason.GOLDEN_DIGEST_MISMATCH,
                f"{_FIELD}.digest: the golden set has {digest}, not {source.digest}; "
                "it changed after the digest was taken: correct the digest or restore the file",
            )
        staging.rename(target / FILE)
    finally:
        staging.unlink(missing_ok=True)
    _write_record(source, target, digest)
    log(f"golden set: {(target / FILE).stat().st_size} bytes, {digest}")
    return digest


def _take(
    source: GoldenSource, version_folder: Path, staging: Path, policy: Policy, log: Callable[[str], None]
) -> None:
    if source.directory is not None:
        _copy(_from_config_map(source, source.directory), staging, f"{_FIELD}.configMap", source.name)
    elif source.path is not None:
        _copy(_from_model(source.path, version_folder), staging, f"{_FIELD}.path", source.path)
    else:
        try:
            _from_address(source, staging, policy, log)
        except ModelError as error:
            raise _translated(error) from None


def _from_address(source: GoldenSource, staging: Path, policy: Policy, log: Callable[[str], None]) -> None:
    uri = parse(source.uri or "", field=f"{_FIELD}.uri")
    if uri.scheme != "pvc":
        Downloader(policy, Limits(max_bytes=MAX_BYTES), log).download(uri, staging)
    elif source.mounted is None:
        raise ModelError(
            Reason.INTERNAL_ERROR, "--golden-source is missing: a pvc:// file is read from where it is mounted"
        )
    else:
        _copy(pvc.inside_mount(uri, source.mounted), staging, f"{_FIELD}.uri", uri.shown)


def _from_config_map(source: GoldenSource, directory: Path) -> Path:
    """Choose the file of a ConfigMap volume; the kubelet's own entries begin with two dots."""
    entries = directory.iterdir() if directory.is_dir() else ()
    keys = sorted(entry.name for entry in entries if not entry.name.startswith(".."))
    listed = ", ".join(shown(key) for key in keys[:_MAX_LISTED])
    if not keys:
        raise ModelError(
            Reason.GOLDEN_NOT_FOUND,
            f"{_FIELD}.configMap: there is no ConfigMap {source.name!a} with content in this namespace; create it: "
            f"kubectl create configmap {source.name} --from-file=golden.npz",
        )
    if source.key is None and len(keys) > 1:
        raise ModelError(
            Reason.GOLDEN_NOT_FOUND,
            f"{_FIELD}.configMap: the ConfigMap {source.name!a} has several keys ({listed}); name one in {_FIELD}.key",
        )
    key = keys[0] if source.key is None else source.key
    if key not in keys:
        raise ModelError(
            Reason.GOLDEN_NOT_FOUND,
            f"{_FIELD}.key: the ConfigMap {source.name!a} has no key {shown(key)}; it has: {listed}; correct the key",
        )
    return directory / key


def _from_model(path: str, version_folder: Path) -> Path:
    """Resolve a path inside the version folder; it must not lead out of it."""
    relative = PurePosixPath(path)
    if not path or relative.is_absolute() or ".." in relative.parts or "\0" in path:
        raise ModelError(
            Reason.GOLDEN_FORBIDDEN,
            f"{_FIELD}.path: {shown(path)} does not stay inside the model's version folder; write it relative to it",
        )
    found = version_folder / relative
    if not found.resolve().is_relative_to(version_folder.resolve()):
        raise ModelError(Reason.GOLDEN_FORBIDDEN, f"{_FIELD}.path: {shown(path)} is a link that leaves the model")
    if not found.is_file():
        there = sorted(str(file.relative_to(version_folder)) for file in version_folder.rglob("*") if file.is_file())
        raise ModelError(
            Reason.GOLDEN_NOT_FOUND,
            f"{_FIELD}.path: the model has no file {shown(path)}; it has: "
            f"{', '.join(shown(name) for name in there[:_MAX_LISTED])}; correct the path or publish the set with the model",
        )
    return found


def _copy(source: Path, target: Path, field: str, name: str) -> None:
    """Copy at most MAX_BYTES of a regular file."""
    if not source.is_file():
        raise ModelError(
            Reason.GOLDEN_NOT_FOUND, f"{field}: {shown(name)} is not a file; give the path of the golden set"
        )
    try:
        read = source.open("rb")
    except PermissionError:
        raise ModelError(
            Reason.GOLDEN_FORBIDDEN,
            f"{field}: {shown(name)} cannot be read by user {os.geteuid()}; make it readable (chmod a+r)",
        ) from None
    size = 0
    with read, create(target) as out:
        while chunk := read.read(CHUNK):
            size += len(chunk)
            if size > MAX_BYTES:
                raise _too_large(field, name)
            out.write(chunk)
        sync(out)


def _translated(error: ModelError) -> ModelError:
    """Give an error of the model's downloader the words of the golden set."""
    if error.reason is Reason.TOO_LARGE:
        return _too_large(f"{_FIELD}.uri", "the file")
    message = error.message.replace("spec.model.uri", f"{_FIELD}.uri").replace("the model", "the golden set")
    return ModelError(_REASONS.get(error.reason, error.reason), message)


def _too_large(field: str, name: str) -> ModelError:
    return ModelError(
        Reason.GOLDEN_TOO_LARGE,
        f"{field}: {shown(name)} is larger than {MAX_BYTES // MIB} MiB; a gate needs hundreds of examples, not all of them",
    )


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"


def _already_there(source: GoldenSource, target: Path) -> str | None:
    try:
        record = json.loads((target / RECORD_FILE).read_text())
        digest = _digest(target / FILE)
    except (OSError, ValueError):
        return None
    same = isinstance(record, dict) and record.get("request") == source.fingerprint() and record.get("digest") == digest
    return digest if same else None


def _write_record(source: GoldenSource, target: Path, digest: str) -> None:
    temporary = target / f".{RECORD_FILE}.new"
    temporary.write_text(json.dumps({"request": source.fingerprint(), "digest": digest}))
    temporary.replace(target / RECORD_FILE)
    sync_folder(target)
