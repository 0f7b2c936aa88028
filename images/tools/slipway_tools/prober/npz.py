"""Reads arrays out of an npz archive that may be hostile: nothing is unpickled, nothing is bigger than it says.

An npz is a zip archive of npy files: a magic number, a header (a Python literal with dtype, order and shape) and the bytes.
NumPy's own header parser is used; sizes are compared before anything of that size is reserved.
"""

import math
import mmap
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np

from slipway_tools.prober.gate_errors import GateInvalidError
from slipway_tools.prober.resolved_gate import FIELD

MAX_BYTES = 64 << 20
MAX_ARRAYS = 256
_SUFFIX = ".npy"
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_ENCRYPTED = 0x1
# Begins each entry of the directory, which zipfile loads as a whole. The bytes of an array may be the same by chance.
_RECORD = b"PK\x01\x02"
_MAX_RECORDS = 4 * MAX_ARRAYS
_GOLDEN = f"{FIELD}.golden"
_OBJECTS = (
    "it holds Python objects, which are never loaded; for text use np.array([...], dtype='S') or dtype='U', "
    "or write JSON lines"
)
_BLOCK = 1 << 16
Array = np.ndarray[Any, Any]


def read(path: Path) -> dict[str, Array]:
    """Return the arrays by name, without `.npy`; text is bytes.

    Raises:
        GateInvalidError: naming the array.
    """
    arrays: dict[str, Array] = {}
    _count_records(path)
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
            _check(infos)
            for info in infos:
                name = info.filename.removesuffix(_SUFFIX)
                with archive.open(info) as stream:
                    arrays[name] = _array(name, stream, info.file_size)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, UnicodeDecodeError) as error:
        raise GateInvalidError(f"{_GOLDEN}: the npz archive is damaged ({error}); write it again") from None
    return arrays


def _count_records(path: Path) -> None:
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        count, at = 0, data.find(_RECORD)
        while at >= 0:
            count, at = count + 1, data.find(_RECORD, at + len(_RECORD))
            if count > _MAX_RECORDS:
                raise GateInvalidError(f"{_GOLDEN}: the archive has too many entries; at most {MAX_ARRAYS} are read")


def _check(infos: list[zipfile.ZipInfo]) -> None:
    if len(infos) > MAX_ARRAYS:
        raise GateInvalidError(f"{_GOLDEN}: the archive has {len(infos)} entries; at most {MAX_ARRAYS} are read")
    if len({info.filename for info in infos}) < len(infos):
        raise GateInvalidError(f"{_GOLDEN}: the archive has an entry twice; write it with np.savez")
    for info in infos:
        if not info.filename.endswith(_SUFFIX) or info.compress_type not in _METHODS or info.flag_bits & _ENCRYPTED:
            raise GateInvalidError(f"{_GOLDEN}: {info.filename!a} is no plain npy array; write the set with np.savez")
        if info.header_offset < 0:  # zipfile moves all by what seems to stand before the archive
            raise zipfile.BadZipFile("central directory")
    total = sum(info.file_size for info in infos)
    if total > MAX_BYTES:
        raise GateInvalidError(
            f"{_GOLDEN}: the arrays are {total} bytes unpacked, more than {MAX_BYTES >> 20} MiB; keep fewer examples"
        )


def _array(name: str, stream: IO[bytes], size: int) -> Array:
    try:
        version = np.lib.format.read_magic(stream)
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in readers:
            raise GateInvalidError(f"{_GOLDEN}: {name!a} has npy version {version}; write it with np.savez")
        shape, fortran, dtype = readers[version](stream)
    except (ValueError, TypeError, LookupError, SyntaxError, tokenize.TokenError, MemoryError, RecursionError) as error:
        raise GateInvalidError(f"{_GOLDEN}: {name!a} is not an npy array ({_first_line(error)})") from None
    if dtype.hasobject:
        raise GateInvalidError(f"{_GOLDEN}: {name!a} cannot be read: {_OBJECTS}")
    bits = dtype.kind == "V" and dtype.itemsize == 2 and dtype.names is None  # noqa: PLR2004 - bfloat16 has two bytes
    if (dtype.kind not in "biufcSU" and not bits) or not dtype.itemsize:
        raise GateInvalidError(f"{_GOLDEN}: {name!a} has dtype {dtype}; use numbers, booleans or text")
    expected = math.prod(shape) * dtype.itemsize
    mismatch = GateInvalidError(
        f"{_GOLDEN}: {name!a} is not as long as its shape {_shown(shape)} and dtype {dtype} say"
    )
    if min(shape, default=0) < 0 or expected != size - stream.tell():
        raise mismatch
    content = stream.read(expected)
    if len(content) != expected:
        raise GateInvalidError(f"{_GOLDEN}: {name!a} is cut off; write the set again")
    flat = np.frombuffer(content, dtype=dtype) if expected else np.zeros(math.prod(shape), dtype=dtype)
    try:
        array = flat.reshape(shape, order="F" if fortran else "C")
    except (ValueError, TypeError, OverflowError):  # beside a size of 0 the others cost nothing to claim
        raise mismatch from None
    try:
        return _native(array)
    except (ValueError, SystemError):  # the latter for numbers above those of Unicode
        raise GateInvalidError(f"{_GOLDEN}: {name!a} has text that is no Unicode; write it with np.savez") from None


def _native(array: Array) -> Array:
    """Return little-endian numbers, and text as bytes."""
    if array.dtype.kind == "U":
        return _encoded(array.reshape(-1)).reshape(array.shape)
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


def _shown(shape: tuple[int, ...]) -> str:
    return str(list(shape))[:100]


def _encoded(texts: Array) -> Array:
    """Encode [N] block by block: NumPy makes an object of each text on the way, ten times as large as a short one."""
    blocks = [np.char.encode(texts[at : at + _BLOCK], "utf-8") for at in range(0, max(len(texts), 1), _BLOCK)]
    return np.concatenate(blocks)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or ["unreadable"])[0][:100]
