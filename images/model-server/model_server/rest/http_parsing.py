"""The bytes of an HTTP request: is its head one that every proxy reads alike, and what is its body?

`rest/server.py` calls this before anything else sees the request. A head that two parsers may read differently is how requests are
smuggled past a proxy, so it is refused, even where this parser would have a reading of it.
"""

import re
import zlib
from collections.abc import Callable
from http.client import HTTPException
from typing import Protocol

#: All header lines of a request together.
MAX_HEAD_BYTES = 128 * 2**10
#: Largest body after decompression; a gzip bomb stops here.
MAX_UNCOMPRESSED_BYTES = 256 * 2**20
MAX_BODY_BYTES = 2**31 - 1
#: The body is read in pieces of this size, each of which may take as long as a client may be silent.
PIECE_BYTES = 256 * 2**10
_MAX_LINE = 1024
_MAX_TRAILERS = 100
_MAX_CHUNK_DIGITS = 8
_MAX_LENGTH_DIGITS = 12
#: Header lines that can be read in one way only: no folding, no space before the colon, no lone CR, no NUL.
_HEAD = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[^\r\n\0]*\r?\n)*(?:\r?\n)?")


class BadRequestError(Exception):
    """A request that is not proper HTTP; the connection ends after the answer."""


class Source(Protocol):
    """What the client sends, buffered."""

    def read(self, size: int, /) -> bytes:
        """So many bytes, fewer at the end only."""

    def readline(self, limit: int, /) -> bytes:
        """The next line, or its first `limit` bytes."""


class Headers(Protocol):
    """What is needed of parsed headers."""

    def get_all(self, name: str, failobj: list[str]) -> list[str]:
        """Every value of a header."""


class Head:
    """The header lines of one request on their way to the parser, which only calls `readline`."""

    def __init__(self, source: Source) -> None:
        self._readline = source.readline
        self._lines: list[bytes] = []
        self._size = 0

    def readline(self, limit: int) -> bytes:
        """The next line; HTTPException (431) where the lines are too many bytes."""
        line = self._readline(limit)
        self._lines.append(line)
        self._size += len(line)
        if self._size > MAX_HEAD_BYTES:
            raise HTTPException(f"got more than {MAX_HEAD_BYTES} bytes of headers")
        return line

    @property
    def proper(self) -> bool:
        """Whether all lines read so far mean one thing only."""
        return _HEAD.fullmatch(b"".join(self._lines)) is not None


def read(source: Source, headers: Headers, version: str, progress: Callable[[], None]) -> bytes:
    """The body as it was sent, unchunked; BadRequestError. `version` is that of the request line, such as HTTP/1.1.

    `progress` is called when another piece of a large body has come.
    """
    lengths, encodings = headers.get_all("Content-Length", []), headers.get_all("Transfer-Encoding", [])
    if encodings:
        if lengths or version != "HTTP/1.1" or [item.strip(" \t").lower() for item in encodings] != ["chunked"]:
            raise BadRequestError("unsupported Transfer-Encoding")
        return _chunked(source, progress)
    return _exactly(source, _length(lengths), progress) if lengths else b""


def decoded(body: bytes, headers: Headers) -> bytes:
    """The body without its Content-Encoding; BadRequestError.

    As in the C++ server any encoding that names gzip stands for it: `x-gzip`, `gzip, identity`.
    """
    kinds = headers.get_all("Content-Encoding", [])
    if not kinds or not body:
        return body
    kind = ",".join(kinds).strip(" \t").lower()
    if "gzip" in kind:
        return _gunzip(body)
    if kind not in ("", "identity"):
        raise BadRequestError(f"unsupported Content-Encoding: {kind}")
    return body


def _exactly(source: Source, size: int, progress: Callable[[], None]) -> bytes:
    if size <= PIECE_BYTES:
        body = source.read(size)
    else:
        pieces: list[bytes] = []
        missing = size
        while missing and (piece := source.read(min(missing, PIECE_BYTES))):
            pieces.append(piece)
            missing -= len(piece)
            progress()
        body = b"".join(pieces)
    if len(body) < size:
        raise BadRequestError("the body ended early")
    return body


def _chunked(source: Source, progress: Callable[[], None]) -> bytes:
    parts: list[bytes] = []
    total = since = 0
    while size := _chunk_size(source.readline(_MAX_LINE)):
        total += size
        if total > MAX_BODY_BYTES:
            raise BadRequestError("the body is too large")
        parts.append(_exactly(source, size, progress))
        if source.readline(_MAX_LINE).strip(b"\r\n"):
            raise BadRequestError("malformed chunk")
        since += size
        if since >= PIECE_BYTES:
            since = 0
            progress()
    for _ in range(_MAX_TRAILERS):
        if not source.readline(_MAX_LINE).strip(b"\r\n"):
            return b"".join(parts)
    raise BadRequestError("too many trailers")


def _chunk_size(line: bytes) -> int:
    text = line.partition(b";")[0].strip(b" \t\r\n")
    if (
        not line.endswith(b"\n")
        or not text
        or text.strip(b"0123456789abcdefABCDEF")
        or len(text) > _MAX_CHUNK_DIGITS
        or b"\r" in line[:-2]
    ):
        raise BadRequestError("malformed chunk")
    return int(text, 16)


def _length(values: list[str]) -> int:
    text = values[0].strip(" \t")
    if len(set(values)) > 1 or not (text.isascii() and text.isdigit()) or len(text) > _MAX_LENGTH_DIGITS:
        raise BadRequestError("malformed Content-Length")
    if int(text) > MAX_BODY_BYTES:
        raise BadRequestError("the body is too large")
    return int(text)


def _gunzip(body: bytes) -> bytes:
    decoder = zlib.decompressobj(31)
    try:
        plain = decoder.decompress(body, MAX_UNCOMPRESSED_BYTES)
    except zlib.error as error:
        raise BadRequestError("the body is not gzip") from error
    if decoder.unconsumed_tail:
        raise BadRequestError("the body is too large after decompression")
    if not decoder.eof:
        raise BadRequestError("the gzip body ended early")
    return plain
