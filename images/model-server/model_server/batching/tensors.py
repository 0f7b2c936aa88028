"""The arithmetic of a batch: joining requests' inputs, padding them, and cutting outputs into shares. Pure."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from model_server.errors import Code, ServingError, invalid_argument
from model_server.tensors.host_tensor import MAX_TENSOR_BYTES, HostTensor

Feeds = list[tuple[str, HostTensor]]
Results = dict[str, HostTensor]


def batch_size(feeds: Sequence[tuple[str, HostTensor]]) -> int:
    """The common 0th dimension of all inputs."""
    sizes = set()
    for _, tensor in feeds:
        if tensor.array.ndim == 0:
            raise invalid_argument("Batching Run() input tensors must have at least one dimension")
        sizes.add(tensor.array.shape[0])
    if len(sizes) > 1:
        raise invalid_argument("Batching Run() input tensors must have equal 0th-dimension size")
    if not sizes:
        raise invalid_argument("Batching session Run() must have at least one input tensor")
    return int(sizes.pop())


def round_up(size: int, allowed: Sequence[int]) -> int:
    """The smallest allowed size that holds `size`; `size` itself where all are allowed."""
    return next((limit for limit in allowed if limit >= size), size)


def merge(parts: Sequence[Feeds], padding_rows: int, *, pad_variable: bool) -> Feeds:
    """Concatenate inputs of the same name and repeat the last request's first row `padding_rows` times."""
    merged: Feeds = []
    for position, (name, first) in enumerate(parts[0]):
        tensors = [part[position][1] for part in parts]
        if any(tensor.dtype != first.dtype for tensor in tensors):
            raise invalid_argument(f"Tensors with name '{name}' from different tasks have different types")
        arrays = [tensor.array for tensor in tensors]
        if pad_variable:
            arrays = _equal_shapes(arrays)
        elif any(array.shape[1:] != arrays[0].shape[1:] for array in arrays):
            raise ServingError(
                Code.FAILED_PRECONDITION,
                f"Tensors with name '{name}' from different tasks have different shapes and padding is turned off. "
                "Set pad_variable_length_inputs to true, or ensure that all tensors with the same name have equal "
                "dimensions starting with the first dim.",
            )
        merged.append((name, HostTensor(first.dtype, _rows(name, arrays, padding_rows))))
    return merged


def split(outputs: Results, sizes: Sequence[int], total: int) -> list[Results]:
    """Cut every output into the requests' shares; rows beyond them are padding."""
    for tensor in outputs.values():
        if tensor.array.ndim == 0:
            raise ServingError(Code.FAILED_PRECONDITION, "Batched output tensor has 0 dimensions")
        if tensor.array.shape[0] != total:
            raise ServingError(
                Code.FAILED_PRECONDITION,
                "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the "
                "input tensors",
            )
    shares: list[Results] = []
    start = 0
    for size in sizes:
        shares.append({n: HostTensor(t.dtype, t.array[start : start + size]) for n, t in outputs.items()})
        start += size
    return shares


def _rows(name: str, arrays: "list[np.ndarray[Any, Any]]", padding_rows: int) -> "np.ndarray[Any, Any]":
    """All rows of one input, the padding behind them."""
    try:
        if padding_rows and len(arrays[-1]):
            arrays = [*arrays, np.repeat(arrays[-1][:1], padding_rows, axis=0)]
        return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    except ValueError as error:
        # An empty tensor may have dimensions that more rows of it cannot have.
        raise invalid_argument(f"Tensors with name '{name}' are too large for one batch") from error


def _equal_shapes(
    arrays: "list[np.ndarray[Any, Any]]",
) -> "list[np.ndarray[Any, Any]]":
    """Pad every dimension but the 0th to the largest, with each tensor's own first value, as the C++ server does."""
    if len({array.ndim for array in arrays}) > 1:
        raise invalid_argument("Tensors of one input in a batch have different numbers of dimensions")
    largest = [max(array.shape[axis] for array in arrays) for axis in range(arrays[0].ndim)]
    padded = []
    for array in arrays:
        shape = (array.shape[0], *largest[1:])
        if shape == array.shape:
            padded.append(array)
            continue
        if not array.size:
            raise invalid_argument("Got empty tensor in batch of non-empty tensors.")
        if math.prod(shape) * array.itemsize > MAX_TENSOR_BYTES:
            raise invalid_argument("A tensor padded to the shape of the others in its batch is too large.")
        target = np.empty(shape, dtype=array.dtype)
        target.fill(array.flat[0])
        target[tuple(slice(size) for size in array.shape)] = array
        padded.append(target)
    return padded


def concatenated(parts: Sequence[HostTensor]) -> HostTensor:
    """Parts of one tensor, put together along the 0th dimension; ServingError where their other dimensions differ."""
    try:
        return HostTensor(parts[0].dtype, np.concatenate([part.array for part in parts]))
    except ValueError as error:
        raise ServingError(
            Code.FAILED_PRECONDITION, f"The parts of a split request have outputs that do not fit together: {error}"
        ) from error
