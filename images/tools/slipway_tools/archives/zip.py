"""Unpacks a zip file. The central directory is measured before `zipfile` loads it, so that it cannot fill the memory."""

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from slipway_tools.archives.names import shown, unsafe
from slipway_tools.archives.writer import Writer
from slipway_tools.errors import ModelError, Reason
from slipway_tools.limits import CHUNK, Limits

_END = struct.Struct("<4s4H2LH")
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL_HEADER_BYTES = 30
_MAX_COMMENT_BYTES = 0xFFFF
# Of the central directory for each entry: a name (names.py allows 1024 bytes of path), extra fields, a word of comment.
_MAX_ENTRY_BYTES = 2048
_ENCRYPTED = 0x1
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}


def unpack_zip(path: Path, writer: Writer, limits: Limits) -> None:
    """Unpack the zip file at `path`.

    Raises:
        ModelError: UnsupportedArchive (damaged, encrypted, exotic), UnsafeArchive, TooLarge.
        OSError: from the volume.
    """
    try:
        with path.open("rb") as stream:
            _measure(stream, limits)
        with zipfile.ZipFile(path) as archive:
            entries = sorted(archive.infolist(), key=lambda info: info.header_offset)
            if entries and entries[0].header_offset < 0:  # zipfile moves all by what seems to stand before the archive
                raise _unsupported("is damaged (central directory)")
            _refuse_overlaps(entries, archive.start_dir)
            for info in entries:
                _entry(archive, info, writer)
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error, NotImplementedError, UnicodeDecodeError) as error:
        raise _unsupported(f"is damaged ({error})") from None


def _entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo, writer: Writer) -> None:
    name = info.orig_filename
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        what = "a symbolic link" if kind == stat.S_IFLNK else "a device, pipe or socket"
        advice = "; pack what links lead to: zip without --symlinks" if kind == stat.S_IFLNK else ""
        raise unsafe(name, f"is {what}; a model consists of plain files and folders{advice}")
    if name.endswith("/") or kind == stat.S_IFDIR:
        if info.file_size:
            raise unsafe(name, "is a folder with content")
        writer.folder(name)
        return
    if info.flag_bits & _ENCRYPTED:
        raise _unsupported(f"is encrypted (entry {shown(name)})")
    if info.compress_type not in _METHODS:
        raise _unsupported(f"uses compression method {info.compress_type}; use stored or deflated entries")
    with archive.open(info) as content:
        writer.file(name, info.file_size, _exactly(content, info.file_size))  # type: ignore[arg-type]


def _exactly(content: BinaryIO, size: int) -> Iterator[bytes]:
    while chunk := content.read(CHUNK):
        size -= len(chunk)
        yield chunk
    if size:
        raise _unsupported("is damaged (an entry is not as long as announced)")


def _refuse_overlaps(entries: list[zipfile.ZipInfo], directory: int) -> None:
    """Refuse entries that share bytes: the quadratic zip bomb, many files over one compressed kernel."""
    ends = [*(info.header_offset for info in entries[1:]), directory]
    for info, end in zip(entries, ends, strict=False):
        if info.header_offset + _LOCAL_HEADER_BYTES + info.compress_size > end:
            raise unsafe(info.orig_filename, "overlaps another entry")


def _measure(stream: BinaryIO, limits: Limits) -> None:
    """Walk the central directory record by record and refuse more entries than the limit allows."""
    position, end = _directory(stream)
    if end - position > limits.max_files * _MAX_ENTRY_BYTES:
        raise ModelError(
            Reason.TOO_LARGE,
            f"spec.model.uri: the archive's list of files is larger than {limits.max_files} files need; publish it again",
        )
    count = 0
    while position < end:
        stream.seek(position)
        signature, *_, name, extra, comment, _, _, _, _ = _CENTRAL.unpack(stream.read(_CENTRAL.size))
        if signature != b"PK\x01\x02":
            raise _unsupported("is damaged (central directory)")
        position += _CENTRAL.size + name + extra + comment
        count += 1
        if count > limits.max_files:
            raise ModelError(
                Reason.TOO_LARGE,
                f"spec.model.uri: the archive has more than {limits.max_files} files and folders; "
                "remove what does not belong to the model or raise the limit (--max-files)",
            )


def _directory(stream: BinaryIO) -> tuple[int, int]:
    """Return where the central directory starts and ends."""
    length = stream.seek(0, 2)
    tail_start = max(0, length - _END.size - _MAX_COMMENT_BYTES)
    stream.seek(tail_start)
    tail = stream.read(_END.size + _MAX_COMMENT_BYTES)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or at + _END.size > len(tail):
        raise _unsupported("ends early: the upload or the download was cut off")
    _, disk, first_disk, _, _, size, _, _ = _END.unpack_from(tail, at)
    end = tail_start + at
    if disk != first_disk:
        raise _unsupported("is split over several files")
    locator = max(0, end - _END64_LOCATOR.size)
    stream.seek(locator)
    signature, _, end64, _ = _END64_LOCATOR.unpack(stream.read(_END64_LOCATOR.size))
    if signature == b"PK\x06\x07":
        # zipfile believes this record whatever the other one says, and looks for it in one of two places.
        stream.seek(end64)
        fields = _END64.unpack(stream.read(_END64.size))
        if end64 + _END64.size != locator or fields[0] != b"PK\x06\x06":
            raise _unsupported("is damaged (zip64 record)")
        end, size = end64, fields[8]
    if size > end:
        raise _unsupported("is damaged (central directory)")
    return end - size, end


def _unsupported(why: str) -> ModelError:
    return ModelError(Reason.UNSUPPORTED_ARCHIVE, f"spec.model.uri: the archive {why}; publish it again")
