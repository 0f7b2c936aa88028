"""Reads a golden set written as JSON lines: one example on each line, values without the batch dimension.

    {"inputs": {"image": [[0.0, …]]}, "outputs": {"probabilities": [0.1, …]}, "label": 3}

`signature` names another signature, `labels` has labels by output; bytes are {"b64": "…"}, text is its UTF-8.
Numbers become int64 or float64; only the server knows the dtypes of the signature.
"""

import base64
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from slipway_tools.prober.gate_errors import GateInvalidError
from slipway_tools.prober.resolved_gate import FIELD

MAX_BYTES = 64 << 20
# Each text is an object: 35 bytes more than its own, and a pointer.
MAX_TEXT_BYTES = 96 << 20
MAX_LINE_BYTES = 4 << 20
MAX_LINES = 100_000
_GOLDEN = f"{FIELD}.golden"
_FIELDS = {"signature", "inputs", "outputs", "label", "labels"}
Array = np.ndarray[Any, Any]


def read(path: Path) -> dict[str, Array]:
    """Return arrays [N, …] by the names that an npz would have.

    Raises:
        GateInvalidError: naming the line.
    """
    rows: dict[str, dict[str, list[Array]]] = {}
    total = texts = 0
    for number, line in _lines(path):
        signature, values = _example(line, f"line {number}")
        known = rows.setdefault(signature, {name: [] for name in values})
        if set(known) != set(values):
            raise GateInvalidError(
                f"{_GOLDEN}: line {number} has {_listed(values)}, the examples before it have {_listed(known)}; "
                "every example of a signature needs the same parts"
            )
        for name, value in values.items():
            if known[name]:
                _check_shape(known[name][0], value, f"line {number}: {name}")
            total += value.nbytes + 100
            texts += sum(map(sys.getsizeof, value.reshape(-1))) + value.nbytes if value.dtype.kind == "O" else 0
            if total > MAX_BYTES or texts > MAX_TEXT_BYTES:
                most = MAX_BYTES if total > MAX_BYTES else MAX_TEXT_BYTES
                raise GateInvalidError(
                    f"{_GOLDEN}: the set is more than {most >> 20} MiB in memory; keep fewer examples"
                )
            known[name].append(value)
    stacked = {}
    for signature, known in rows.items():
        prefix = f"{signature}:" if signature else ""
        for name in list(known):
            stacked[prefix + name] = _stack(known.pop(name), f"{prefix}{name}")
    return stacked


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as stream:
        number = 0
        while line := stream.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(line) > MAX_LINE_BYTES:
                raise GateInvalidError(
                    f"{_GOLDEN}: line {number} is longer than {MAX_LINE_BYTES >> 20} MiB; write large examples as npz"
                )
            if number > MAX_LINES:
                raise GateInvalidError(f"{_GOLDEN}: there are more than {MAX_LINES} lines; keep fewer examples")
            if line.strip():
                yield number, line


def _example(line: bytes, where: str) -> tuple[str, dict[str, Array]]:
    try:
        example = json.loads(line)
    except (ValueError, RecursionError):
        raise GateInvalidError(
            f"{_GOLDEN}: {where} is not JSON, and the file is no npz archive either; write one JSON object on each line"
        ) from None
    if not isinstance(example, dict) or not set(example) <= _FIELDS:
        raise GateInvalidError(
            f"{_GOLDEN}: {where} has to be an object of {', '.join(sorted(_FIELDS))} and nothing else"
        )
    signature = example.get("signature", "")
    if not isinstance(signature, str) or ("signature" in example and not signature) or not _is_text(signature):
        raise GateInvalidError(f"{_GOLDEN}: {where}: signature has to be a name")
    if "label" in example and "labels" in example:
        raise GateInvalidError(f"{_GOLDEN}: {where} has both label and labels; keep one")
    parts = {
        kind: _named(example[kind], f"{where}: {kind}") for kind in ("inputs", "outputs", "labels") if kind in example
    }
    values = {f"{kind}/{name}": value for kind, named in parts.items() for name, value in named.items()}
    if "label" in example:
        values["labels"] = example["label"]
    return signature, {name: _array(value, f"{where}: {name}") for name, value in values.items()}


def _named(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise GateInvalidError(f"{_GOLDEN}: {where} has to be an object of names and values")
    if not all(map(_is_text, value)):
        raise GateInvalidError(f"{_GOLDEN}: {where} has a name that is no Unicode (a half of a surrogate pair)")
    return value


def _is_text(name: str) -> bool:
    r"""Return whether a name can be encoded: JSON may hold "\ud800", which no encoding has."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _array(value: Any, where: str) -> Array:
    """Turn nested lists into an array; text and {"b64": …} become bytes."""
    try:
        plain = _decoded(value)
        array = np.asarray(plain)
    except (ValueError, RecursionError):
        raise GateInvalidError(
            f"{_GOLDEN}: {where} is ragged or has broken base64; all lists of a dimension have the same length"
        ) from None
    if array.dtype.kind == "S":
        # Fixed-width text of NumPy would drop zero bytes at the end.
        array = np.array(plain, dtype=object)
    if array.dtype.kind == "O" and not all(isinstance(item, bytes) for item in array.reshape(-1)):
        raise GateInvalidError(
            f"{_GOLDEN}: {where} has a value that is no number, boolean or text, or several kinds of them"
        )
    return array


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str):
        return base64.b64decode(value["b64"], validate=True)
    return value


def _check_shape(first: Array, value: Array, where: str) -> None:
    if first.shape != value.shape or (first.dtype.kind in "iuf") != (value.dtype.kind in "iuf"):
        raise GateInvalidError(
            f"{_GOLDEN}: {where} has shape {list(value.shape)} of {_kind(value)}, before it {list(first.shape)} of {_kind(first)}; "
            "all examples of a signature have one shape"
        )


def _kind(array: Array) -> str:
    return {"O": "text", "b": "booleans"}.get(array.dtype.kind, "numbers")


def _stack(values: list[Array], name: str) -> Array:
    stacked = np.stack(values)
    if stacked.dtype.kind == "O" and not all(isinstance(item, bytes) for item in stacked.reshape(-1)):
        raise GateInvalidError(f"{_GOLDEN}: {name} has numbers too large for any dtype")
    return stacked


def _listed(names: dict[str, Any]) -> str:
    return ", ".join(sorted(names)) or "nothing"
