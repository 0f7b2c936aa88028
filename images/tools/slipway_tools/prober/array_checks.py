"""Checks one array of a golden set against the model's signature: dtype, shape, batch size."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from slipway_tools.prober.gate_errors import GateInvalidError
from slipway_tools.prober.golden_set import GOLDEN
from slipway_tools.prober.resolved_gate import FIELD
from slipway_tools.prober.serving_client import TensorSpec

Array = np.ndarray[Any, Any]


def converted(array: Array, dtype: str, *, untyped: bool, where: str) -> Array:
    """Return the array in the dtype of the signature.

    Numbers of JSON lines (`untyped`) have no dtype of their own. The arrays of an npz have one, which must be the
    signature's: a silent cast would hide that the golden set was made for another model.
    """
    have = dtype_of(array)
    if have == dtype or (dtype == "bfloat16" and have in {"float32", "void16"}):
        return array
    to, wanted = "float32" if dtype == "bfloat16" else dtype, kind(dtype)
    if untyped and ((array.dtype.kind in "iu" and wanted in "iuf") or (array.dtype.kind == "f" and wanted == "f")):
        with np.errstate(over="ignore"):
            cast = array.astype(to)
        kept = (cast == array).all() if wanted in "iu" else (np.isfinite(cast) | ~np.isfinite(array)).all()
        if kept:
            return cast
        raise GateInvalidError(f"{GOLDEN}: {where} has a number that {dtype} cannot hold; the model takes {dtype}")
    raise GateInvalidError(f"{GOLDEN}: {where} is {have}, the model takes {dtype}; write it with dtype {dtype}")


def dtype_of(array: Array) -> str:
    """Return TensorFlow's name of an array's dtype."""
    return "string" if array.dtype.kind in "SO" else array.dtype.name


def kind(dtype: str) -> str:
    """Return NumPy's letter for a kind of dtype: b, i, u, f, c, or S for text; ? for what cannot be compared."""
    if dtype == "string":
        return "S"
    try:
        return "f" if dtype == "bfloat16" else np.dtype(dtype).kind
    except TypeError:
        return "?"


def check_kind(expected: Array, spec: TensorSpec, where: str) -> None:
    """Refuse expected outputs of another kind than the model's output."""
    wanted, have = kind(spec.dtype), kind(dtype_of(expected)) if expected.dtype.kind != "V" else "?"
    if wanted == "?":
        raise GateInvalidError(
            f"{GOLDEN}: {where}: the model answers {spec.dtype}, which cannot be compared; leave it out"
        )
    if not (wanted == have or (wanted in "iufc" and have in "iufc")):
        raise GateInvalidError(
            f"{GOLDEN}: {where} is {dtype_of(expected)}, the model answers {spec.dtype}; write it with dtype {spec.dtype}"
        )


def check_shape(array: Array, spec: TensorSpec, where: str) -> None:
    """Refuse an array whose shape, after the first dimension, is not the signature's."""
    if spec.shape is None:
        return
    if not spec.shape:
        raise GateInvalidError(
            f"{GOLDEN}: {where} has no batch dimension in the model; export the model with one (None) as the first"
        )
    sizes = zip(array.shape[1:], spec.shape[1:], strict=False)
    if array.ndim != len(spec.shape) or any(wanted not in {-1, size} for size, wanted in sizes):
        raise GateInvalidError(
            f"{GOLDEN}: {where} has shape {_shape(array.shape)}, the model has {_shape(spec.shape)}; the first is the example"
        )


def check_batch(batch_size: int, count: int, spec: TensorSpec, where: str) -> None:
    """Refuse a batch size other than the fixed first dimension of a signature."""
    fixed = spec.shape[0] if spec.shape else -1
    if fixed > 0 and batch_size != fixed:
        raise GateInvalidError(
            f"{FIELD}.batchSize: {where} takes batches of exactly {fixed}, not of {batch_size}; write batchSize: {fixed}"
        )
    if fixed > 0 and count % fixed:
        raise GateInvalidError(
            f"{GOLDEN}: {count} examples cannot be sent in batches of exactly {fixed}, as {where} takes them; "
            f"keep a multiple of {fixed}"
        )


def _shape(sizes: Iterable[int]) -> str:
    return "[" + ", ".join("?" if size < 0 else str(size) for size in sizes) + "]"
