"""Properties: a tensor goes through the server and comes back as it was, whatever its type, shape and encoding."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.conformance import wire
from tests.conformance.wire import NUMPY, TYPES, Target

KITCHEN = "/v1/models/kitchen:predict"
SHAPES = arrays.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4)
FEW = settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
JSON_TYPES = ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint32", "uint64", "bool", "string")


@st.composite
def tensors(draw: st.DrawFn, kind: str) -> Any:
    """An array of any shape, scalars and empty ones among them, with any bit pattern of the type."""
    shape = draw(SHAPES)
    if kind == "string":
        items = draw(st.lists(st.binary(max_size=40), min_size=math.prod(shape), max_size=math.prod(shape)))
        array = np.empty(len(items), object)
        array[:] = items
        return array.reshape(shape)
    if kind == "bool":
        return draw(arrays.arrays(np.bool_, shape))
    size = math.prod(shape) * NUMPY[kind].itemsize
    return np.frombuffer(draw(st.binary(min_size=size, max_size=size)), NUMPY[kind]).reshape(shape)


def same(sent: Any, received: Any) -> bool:
    """Equal in shape and in every bit; a quiet NaN may have taken the place of a signalling one."""
    if sent.shape != received.shape or sent.dtype != received.dtype:
        return False
    if sent.dtype.kind in "OSb":
        return bool(sent.tolist() == received.tolist())
    if sent.tobytes() == received.tobytes():
        return True
    return bool(np.array_equal(sent, received, equal_nan=sent.dtype.kind in "fcV"))


@pytest.mark.parametrize("kind", TYPES)
def test_typed_fields_round_trip(target: Target, kind: str) -> None:
    """What is sent in the typed field of its type comes back in it."""

    @FEW
    @given(array=tensors(kind))
    def check(array: Any) -> None:
        output = target.predict("kitchen", {"x": wire.fields(array, kind)}, f"identity_{kind}").outputs["x"]
        assert output.dtype == TYPES[kind][0]
        assert same(array, wire.values(output))

    check()


@pytest.mark.parametrize("kind", [kind for kind in TYPES if kind != "string"])
def test_contents_round_trip(target: Target, kind: str) -> None:
    """What is sent as tensor_content comes back in the typed field, with the same values."""

    @FEW
    @given(array=tensors(kind))
    def check(array: Any) -> None:
        output = target.predict("kitchen", {"x": wire.content(array, kind)}, f"identity_{kind}").outputs["x"]
        assert same(array, wire.values(output))

    check()


def numbers(kind: str) -> st.SearchStrategy[Any]:
    """Values of a type that JSON can carry."""
    if kind == "bool":
        return st.booleans()
    if kind == "string":
        return st.text(st.characters(codec="utf-8"), max_size=20)
    if kind.startswith("float"):
        return st.floats(width=32 if kind == "float32" else 64)
    limits = np.iinfo(NUMPY[kind])
    return st.integers(int(limits.min), int(limits.max))


def nested(flat: list[Any], shape: tuple[int, ...]) -> Any:
    if not shape:
        return flat[0]
    step = len(flat) // shape[0]
    return [nested(flat[at : at + step], shape[1:]) for at in range(0, len(flat), step)]


@pytest.mark.parametrize("kind", JSON_TYPES)
@pytest.mark.parametrize("form", ["instances", "inputs"])
def test_json_round_trips(target: Target, kind: str, form: str) -> None:
    """Nested lists of any regular shape come back as they were, NaN and infinities among them, in both forms."""

    @FEW
    @given(data=st.data(), shape=arrays.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=3))
    def check(data: st.DataObject, shape: tuple[int, ...]) -> None:
        flat = data.draw(st.lists(numbers(kind), min_size=math.prod(shape), max_size=math.prod(shape)))
        sent = nested(flat, shape)
        answer = target.post(KITCHEN, json.dumps({"signature_name": f"identity_{kind}", form: sent}))
        assert answer.status == 200, answer.body
        (received,) = answer.json.values()
        if kind.startswith("float"):
            wanted = np.array(sent, NUMPY[kind])
            np.testing.assert_array_equal(np.array(received, NUMPY[kind]), wanted)
        else:
            assert received == sent

    check()
