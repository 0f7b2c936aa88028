"""The golden set: examples by signature, from an npz archive or JSON lines, with every check that needs no server."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from slipway_tools.prober import jsonlines, npz
from slipway_tools.prober.gate_errors import GateInvalidError
from slipway_tools.prober.resolved_gate import FIELD

GOLDEN = f"{FIELD}.golden"
MAX_FILE_BYTES = 64 << 20
MAX_EXAMPLES = 100_000
_ZIP_MAGIC = b"PK"
_KINDS = ("inputs", "outputs", "labels")
_LAYOUT = "inputs/NAME, outputs/NAME, labels or labels/OUTPUT, with SIGNATURE: in front for another signature"
Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Examples:
    """The examples of one signature: arrays [N, …] by name.

    `labels` is [N] by output; the key None stands for any output. `untyped`: the numbers come from JSON, where they have no
    dtype.
    """

    count: int
    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array] = field(default_factory=dict)
    labels: Mapping[str | None, Array] = field(default_factory=dict)
    untyped: bool = False


GoldenSet = Mapping[str, Examples]


def read(path: Path, default_signature: str) -> GoldenSet:
    """Read a golden set; its content tells the format.

    Args:
        path: the file, at most 64 MiB.
        default_signature: signature of the examples that name none.

    Raises:
        GateInvalidError: naming the fault in the file.
        OSError: when it cannot be read.
    """
    size = path.stat().st_size
    if size == 0:
        raise GateInvalidError(f"{GOLDEN}: the file is empty; write examples into it")
    if size > MAX_FILE_BYTES:
        raise GateInvalidError(f"{GOLDEN}: the file is larger than {MAX_FILE_BYTES >> 20} MiB; keep fewer examples")
    with path.open("rb") as stream:
        is_zip = stream.read(len(_ZIP_MAGIC)) == _ZIP_MAGIC
    arrays = npz.read(path) if is_zip else jsonlines.read(path)
    return _grouped(arrays, default_signature, untyped=not is_zip)


def _grouped(arrays: Mapping[str, Array], default_signature: str, *, untyped: bool) -> GoldenSet:
    if not arrays:
        raise GateInvalidError(f"{GOLDEN}: the golden set has no arrays; write at least inputs/NAME")
    found: dict[str, dict[str, dict[str, Array]]] = {}
    for name, array in arrays.items():
        signature, kind, what = _split(name, default_signature)
        parts = found.setdefault(signature, {kind: {} for kind in _KINDS})
        if what in parts[kind]:
            raise GateInvalidError(f"{GOLDEN}: {name!a} is there twice, with and without its signature; keep one")
        parts[kind][what] = array
    return {signature: _examples(signature, parts, untyped=untyped) for signature, parts in found.items()}


def _split(name: str, default_signature: str) -> tuple[str, str, str]:
    """Split `SIGNATURE:inputs/NAME`."""
    head, slash, what = name.partition("/")
    signature, colon, kind = head.rpartition(":")
    if kind not in _KINDS or (not slash and kind != "labels") or (slash and not what) or (colon and not signature):
        raise GateInvalidError(f"{GOLDEN}: unknown array {name!a}; the names are: {_LAYOUT}")
    return signature if colon else default_signature, kind, what


def _examples(signature: str, parts: Mapping[str, Mapping[str, Array]], *, untyped: bool) -> Examples:
    if not parts["inputs"]:
        raise GateInvalidError(f"{GOLDEN}: signature {signature!a} has no inputs; write inputs/NAME for each of them")
    counts = {f"{kind}/{name}".rstrip("/"): _rows(f"{kind}/{name}", array) for kind, name, array in _each(parts)}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name} has {count}" for name, count in counts.items())
        raise GateInvalidError(
            f"{GOLDEN}: the arrays of signature {signature!a} have different numbers of examples: {listed}; "
            "the first dimension is the example"
        )
    count = next(iter(counts.values()))
    if count == 0:
        raise GateInvalidError(f"{GOLDEN}: signature {signature!a} has no examples; a gate must check something")
    if count > MAX_EXAMPLES:
        raise GateInvalidError(f"{GOLDEN}: signature {signature!a} has {count} examples; the limit is {MAX_EXAMPLES}")
    for name, array in parts["outputs"].items():
        _check_finite(f"outputs/{name}", array)
    labels = {name or None: _labels(f"labels/{name}".rstrip("/"), array) for name, array in parts["labels"].items()}
    return Examples(count, parts["inputs"], parts["outputs"], labels, untyped)


def _each(parts: Mapping[str, Mapping[str, Array]]) -> Iterable[tuple[str, str, Array]]:
    for kind, arrays in parts.items():
        for name, array in arrays.items():
            yield kind, name, array


def _rows(name: str, array: Array) -> int:
    if array.ndim == 0:
        raise GateInvalidError(
            f"{GOLDEN}: {name.rstrip('/')} is a single value; its first dimension has to be the example"
        )
    return int(array.shape[0])


def _check_finite(name: str, array: Array) -> None:
    if array.dtype.kind in "fc" and not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array))[0][0])
        raise GateInvalidError(
            f"{GOLDEN}: {name} has a value that is not finite, first in example {row}; no answer can be equal to it"
        )


def _labels(name: str, array: Array) -> Array:
    if array.dtype.kind not in "iu" or array.ndim not in {1, 2} or (array.ndim == 2 and array.shape[1] != 1):  # noqa: PLR2004
        raise GateInvalidError(
            f"{GOLDEN}: {name} is {array.dtype} with shape {list(array.shape)}; labels are whole numbers, one for each example"
        )
    labels: Array = array.reshape(-1)
    if int(labels.min()) < 0 or int(labels.max()) > np.iinfo(np.int64).max:
        row = int(np.argmax(labels < 0))
        raise GateInvalidError(
            f"{GOLDEN}: {name} is {labels[row]} in example {row}; labels are numbers of classes, from 0"
        )
    return labels.astype(np.int64)
