"""Archives: tar, tar.gz and zip, recognised by content and unpacked without trusting a byte of them."""

import gzip
import zlib
from pathlib import Path
from typing import BinaryIO, cast

from slipway_tools.archives.tar import truncated, unpack_tar
from slipway_tools.archives.writer import Writer
from slipway_tools.archives.zip import unpack_zip
from slipway_tools.errors import ModelError, Reason
from slipway_tools.limits import Budget, Limits

_TAR_MAGIC_AT = 257
_HEAD_BYTES = 512
_WHAT = "spec.model.uri: the unpacked archive"


def unpack(archive: Path, destination: Path, limits: Limits) -> None:
    """Unpack the archive file into the existing empty folder `destination`.

    Raises:
        ModelError: UnsupportedArchive, UnsafeArchive or TooLarge; what was written until then stays for the caller to drop.
        OSError: from the volume.
    """
    writer = Writer(destination, Budget(limits, _WHAT))
    with archive.open("rb") as stream:
        kind = _kind(stream.read(_HEAD_BYTES))
        stream.seek(0)
        if kind != "zip":
            _unpack_stream(stream, kind, writer)
            return
    unpack_zip(archive, writer, limits)


def unpack_from(stream: BinaryIO, destination: Path, limits: Limits) -> None:
    """Unpack a tar or tar.gz stream that cannot be rewound (a pipe); same errors as `unpack`."""
    pipe = _Rewound(stream)
    kind = _kind(pipe.head)
    if kind == "zip":
        raise ModelError(
            Reason.UNSUPPORTED_ARCHIVE, "a zip file cannot be read from a pipe; send a tar or tar.gz stream"
        )
    _unpack_stream(cast("BinaryIO", pipe), kind, Writer(destination, Budget(limits, "the unpacked archive")))


def _unpack_stream(stream: BinaryIO, kind: str, writer: Writer) -> None:
    if kind == "tar":
        unpack_tar(stream, writer)
        return
    try:
        with gzip.GzipFile(fileobj=stream, mode="rb") as plain:
            unpack_tar(cast("BinaryIO", plain), writer)
    except EOFError:
        raise truncated() from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise ModelError(
            Reason.UNSUPPORTED_ARCHIVE, f"spec.model.uri: the archive is damaged ({error}); publish it again"
        ) from None


def _kind(head: bytes) -> str:
    """Return the form of an archive by its first block: the name and the Content-Type of a file are only claims."""
    if head.startswith(b"\x1f\x8b"):
        return "gzip"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    # A tar of nothing is its end marker alone.
    if head[_TAR_MAGIC_AT : _TAR_MAGIC_AT + 5] == b"ustar" or head == bytes(_HEAD_BYTES):
        return "tar"
    looks = "an HTML page" if head.lstrip()[:1] == b"<" else "neither tar, tar.gz nor zip"
    raise ModelError(
        Reason.UNSUPPORTED_ARCHIVE,
        f"spec.model.uri: the content is {looks if head else 'empty'}; point it at a .tar, .tar.gz or .zip of a SavedModel",
    )


class _Rewound:
    """A pipe whose first block has been looked at."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.head = b""
        while len(self.head) < _HEAD_BYTES and (piece := stream.read(_HEAD_BYTES - len(self.head))):
            self.head += piece
        self._ahead = self.head

    def read(self, count: int = -1) -> bytes:
        """Read at most `count` bytes."""
        if self._ahead:
            taken = self._ahead[:count] if count >= 0 else self._ahead
            self._ahead = self._ahead[len(taken) :]
            return taken
        return self._stream.read(count)
