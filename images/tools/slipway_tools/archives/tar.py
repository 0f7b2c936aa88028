"""Unpacks a tar stream block by block: ustar, pax and GNU long names, nothing that is not a file or a folder.

`tarfile` reads extension headers of any announced size into memory and keeps every member; here only its parser of a
single 512-byte header is used, and this module decides how much follows.
"""

import tarfile
from collections.abc import Iterator
from typing import BinaryIO

from slipway_tools.archives.names import unsafe
from slipway_tools.archives.writer import Writer
from slipway_tools.errors import ModelError, Reason
from slipway_tools.limits import CHUNK, MIB

_BLOCK = tarfile.BLOCKSIZE
_MAX_EXTENSION_BYTES = 64 << 10
_MAX_EXTENSIONS = 8
_MAX_PADDING_BYTES = 64 * MIB
_FILES = {tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE}
_PAX = {tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE}
_LINKS = {tarfile.SYMTYPE, tarfile.LNKTYPE}
_LINKS_AND_DEVICES = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a character device",
    tarfile.BLKTYPE: "a block device",
    tarfile.FIFOTYPE: "a named pipe",
}


def unpack_tar(stream: BinaryIO, writer: Writer) -> None:
    """Unpack an uncompressed tar stream to its end.

    Raises:
        ModelError: UnsupportedArchive (damaged, truncated, exotic), UnsafeArchive, TooLarge.
        OSError: from the volume.
    """
    extra: dict[str, str] = {}
    extensions = 0
    while (header := _next_header(stream)) is not None:
        if header.type in _PAX or header.type in {tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}:
            extensions += 1
            if extensions > _MAX_EXTENSIONS:
                raise _unsupported("has too many extension headers in a row")
            extra.update(_extension(stream, header))
            continue
        _entry(stream, header, extra, writer)
        extra, extensions = {}, 0
    _read_to_end(stream)


def _entry(stream: BinaryIO, header: tarfile.TarInfo, extra: dict[str, str], writer: Writer) -> None:
    name = extra.get("path", header.name)
    size = _size(extra.get("size"), header.size)
    if any(key.startswith("GNU.sparse") for key in extra) or header.type == tarfile.GNUTYPE_SPARSE:
        raise _unsupported("holds sparse files; pack it without --sparse")
    # An old-style directory is a regular entry whose name ends in a slash.
    is_folder = header.type == tarfile.DIRTYPE or (header.type == tarfile.AREGTYPE and name.endswith("/"))
    if is_folder:
        writer.folder(name)
    elif header.type in _FILES:
        writer.file(name, size, _content(stream, size))
        _read(stream, -size % _BLOCK)
    elif header.type in _LINKS_AND_DEVICES:
        advice = "; pack what links lead to: tar --dereference --hard-dereference" if header.type in _LINKS else ""
        what = _LINKS_AND_DEVICES[header.type]
        raise unsafe(name, f"is {what}; a model consists of plain files and folders{advice}")
    else:
        raise _unsupported(f"has an entry of unknown type {header.type!r}")


def _next_header(stream: BinaryIO) -> tarfile.TarInfo | None:
    block = _read(stream, _BLOCK)
    if not any(block):
        return None
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise _unsupported(f"is damaged ({error})") from None


def _extension(stream: BinaryIO, header: tarfile.TarInfo) -> dict[str, str]:
    """Read one extension header and return the attributes that it gives to the next entry."""
    if not 0 <= header.size <= _MAX_EXTENSION_BYTES:
        raise _unsupported("has an extension header of unreasonable size")
    data = _read(stream, header.size)
    _read(stream, -header.size % _BLOCK)
    if header.type == tarfile.GNUTYPE_LONGNAME:
        return {"path": data.rstrip(b"\0").decode("utf-8", "surrogateescape")}
    if header.type == tarfile.XGLTYPE:
        if any(key in {"path", "size", "linkpath"} for key in _pax_records(data)):
            raise _unsupported("has a global header that renames its entries")
        return {}
    if header.type == tarfile.GNUTYPE_LONGLINK:
        return {}
    return _pax_records(data)


def _pax_records(data: bytes) -> dict[str, str]:
    """Parse records of the form LENGTH KEY=VALUE, each ended by a line break; LENGTH counts the whole record."""
    records: dict[str, str] = {}
    position = 0
    while position < len(data) and data[position] != 0:
        length, space, _ = data[position : position + 20].partition(b" ")
        end = position + int(length) if space and length.isdigit() else 0
        record = data[position + len(length) + 1 : end]
        key, equals, value = record.partition(b"=")
        if end > len(data) or not equals or not record.endswith(b"\n"):
            raise _unsupported("has a damaged extension header")
        records[key.decode("utf-8", "surrogateescape")] = value[:-1].decode("utf-8", "surrogateescape")
        position = end
    return records


def _size(extended: str | None, plain: int) -> int:
    if extended is None:
        size = plain
    elif extended.isascii() and extended.isdigit() and len(extended) <= 20:  # noqa: PLR2004 - 2**64 has 20 digits
        size = int(extended)
    else:
        size = -1
    if size < 0:
        raise _unsupported("has an entry with an invalid size")
    return size


def _content(stream: BinaryIO, size: int) -> Iterator[bytes]:
    while size:
        chunk = stream.read(min(size, CHUNK))
        if not chunk:
            raise truncated()
        size -= len(chunk)
        yield chunk


def _read(stream: BinaryIO, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = stream.read(count - len(data))
        if not piece:
            raise truncated()
        data += piece
    return data


def _read_to_end(stream: BinaryIO) -> None:
    """Read the padding after the end marker: a compressed stream checks its checksum there, a pipe must not break."""
    left = _MAX_PADDING_BYTES
    while chunk := stream.read(CHUNK):
        left -= len(chunk)
        if left < 0:
            raise _unsupported("goes on after its end")


def truncated() -> ModelError:
    """Return the error for an archive that stops early."""
    return _unsupported("ends early: the upload or the download was cut off")


def _unsupported(why: str) -> ModelError:
    return ModelError(Reason.UNSUPPORTED_ARCHIVE, f"spec.model.uri: the archive {why}; publish it again")
