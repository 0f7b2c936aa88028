"""The JSON room without a server: text forms and tensors, by property."""

import contextlib
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_server.errors import ServingError
from model_server.protobuf.generated import meta_graph_pb2
from model_server.rest import json_tensors, json_text, predict_json
from model_server.tensors import dtypes
from model_server.tensors.host_tensor import HostTensor

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)
shapes = st.lists(st.integers(0, 3), max_size=4).map(tuple)


class Info:
    def __init__(self, dtype: int) -> None:
        self.dtype = dtype


@given(st.lists(st.floats(width=32), max_size=20))
def test_float32_text_reads_back_to_the_same_value(numbers: list[float]) -> None:
    array = np.array(numbers, np.float32)
    texts = json_text.float_texts(array)
    back = np.array([json.loads(text) for text in texts], np.float64).astype(np.float32)
    np.testing.assert_array_equal(back, array)
    assert all(text in ("NaN", "Infinity", "-Infinity") or "." in text or "e" in text for text in texts)


@given(st.floats())
def test_float64_text_reads_back_to_the_same_value(number: float) -> None:
    (text,) = json_text.float_texts(np.array([number]))
    back = json.loads(text)
    assert back == number or (math.isnan(back) and math.isnan(number))


@given(shapes, st.booleans(), st.integers(0, 3))
def test_nested_arrays_have_the_shape(shape: tuple[int, ...], single_line: bool, level: int) -> None:  # noqa: FBT001
    array = np.arange(math.prod(shape)).reshape(shape)
    tokens = [str(value) for value in array.reshape(-1).tolist()]
    text = json_text.array_text(tokens, shape, level, single_line=single_line)
    assert json.loads(text) == array.tolist()
    assert not single_line or "\n" not in text


@given(shapes, st.sampled_from([dtypes.FLOAT, dtypes.INT32, dtypes.INT64, dtypes.BOOL, dtypes.STRING]))
def test_a_tensor_survives_the_way_out_and_in(shape: tuple[int, ...], dtype: int) -> None:
    # The shape of an empty list cannot be told from JSON beyond the first empty dimension.
    cut = shape[: shape.index(0) + 1] if 0 in shape else shape
    flat = [_element(dtype, index) for index in range(math.prod(cut))]
    tensor = json_tensors.to_tensor(flat, cut, dtype)
    text = predict_json.predict_text({"x": tensor}, row_format=False)
    parsed = predict_json.parse_predict(text.replace('"outputs"', '"inputs"').encode(), lambda _: {"x": Info(dtype)})
    assert parsed.tensors["x"].array.shape == cut
    assert parsed.tensors["x"].array.tolist() == tensor.array.tolist()


def _element(dtype: int, index: int) -> object:
    if dtype == dtypes.STRING:
        return f'{index} "\\\né'.encode()
    return bool(index % 2) if dtype == dtypes.BOOL else (index / 3 if dtype == dtypes.FLOAT else index)


@given(values, st.sampled_from(sorted(dtypes.STORAGE)))
def test_any_value_becomes_a_tensor_or_a_typed_error(value: object, dtype: int) -> None:
    for key in ("instances", "inputs"):
        body = json.dumps({key: value}).encode()
        with contextlib.suppress(ServingError):
            assert predict_json.parse_predict(body, lambda _: {"x": Info(dtype)}).tensors["x"].dtype == dtype


@given(st.binary(max_size=60))
def test_any_bytes_parse_or_are_refused_with_a_typed_error(body: bytes) -> None:
    with contextlib.suppress(ServingError):
        assert isinstance(json_text.parse(body), dict)


@given(values)
def test_debug_strings_are_short(value: object) -> None:
    # A token is written whole once it has begun, as RapidJSON writes it.
    assert len(json_text.debug_string(value)) < 256 + 200


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"   ", "JSON Parse error: The document is empty. at offset: 3"),
        (b'{"a": nul}', "JSON Parse error: Invalid value. at offset: 9"),
        (b'{"a": "x', "JSON Parse error: Missing a closing quotation mark in string. at offset: 8"),
        (b'{"a": "\\q"}', "JSON Parse error: Invalid escape character in string. at offset: 7"),
        (b'{"a": 1e999}', "JSON Parse error: Number too big to be stored in double. at offset: 6"),
        (b'{"a": "\xc3\xa9", 1}', "JSON Parse error: Missing a name for object member. at offset: 12"),
    ],
)
def test_parser_errors(body: bytes, message: str) -> None:
    with pytest.raises(ServingError) as caught:
        json_text.parse(body)
    assert caught.value.message == message


def test_what_follows_the_document_is_ignored_and_the_first_of_equal_keys_counts() -> None:
    assert json_text.parse(b'\xef\xbb\xbf{"a": 1, "a": 2} trailing') == {"a": 1}


def test_numbers_beyond_64_bits_are_floats_for_float_inputs() -> None:
    body = b'{"inputs": [123456789012345678901234567890, 1e30]}'
    parsed = predict_json.parse_predict(body, lambda _: {"x": Info(dtypes.FLOAT)})
    np.testing.assert_allclose(parsed.tensors["x"].array, [1.2345679e29, 1e30], rtol=1e-6)


@pytest.mark.parametrize("name", [b"\xcf", b"\xed\xa0\x80a"])
def test_a_name_that_is_not_utf_8_is_no_input(name: bytes) -> None:
    """The names of inputs are a map of protobuf, which raises where such a name is looked up."""
    signature = meta_graph_pb2.SignatureDef()
    signature.inputs["x"].dtype = dtypes.FLOAT
    with pytest.raises(ServingError) as caught:
        predict_json.parse_predict(b'{"instances": [{"x": 1}, {"' + name + b'": 2}]}', lambda _: signature.inputs)
    assert "JSON object: does not have named input: " in caught.value.message


@pytest.mark.parametrize("dtype", [dtypes.HALF, dtypes.UINT16, dtypes.COMPLEX64, dtypes.BFLOAT16])
def test_types_that_json_cannot_carry_are_refused_on_the_way_out(dtype: int) -> None:
    tensor = HostTensor(dtype, np.zeros(1, dtypes.STORAGE[dtype]))
    with pytest.raises(ServingError) as caught:
        predict_json.predict_text({"x": tensor}, row_format=True)
    assert caught.value.message == f"Failed to write JSON value for tensor type: {dtypes.name_of(dtype)}"
