"""TensorProto in and out, for every type, by property; and the wire reader below it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from model_server.protobuf import wire_format
from model_server.protobuf.generated import tensor_pb2
from model_server.tensors import dtypes, host_tensor
from model_server.tensors.host_tensor import HostTensor

NUMBERS = [dtype for dtype in dtypes.STORAGE if dtype != dtypes.STRING]


def same(left: HostTensor, right: HostTensor) -> None:
    assert left.dtype == right.dtype
    assert left.array.shape == right.array.shape
    if left.dtype == dtypes.STRING:
        assert left.array.tolist() == right.array.tolist()
    else:
        assert left.array.tobytes() == right.array.tobytes()


@given(st.data(), st.sampled_from(NUMBERS), st.booleans())
def test_numbers_survive_the_round_trip_bit_by_bit(data: st.DataObject, dtype: int, as_content: bool) -> None:  # noqa: FBT001
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    array = data.draw(hnp.arrays(dtypes.STORAGE[dtype], shape))
    tensor = HostTensor(dtype, array)
    message = host_tensor.to_proto(tensor, as_content=as_content)
    same(host_tensor.from_proto(tensor_pb2.TensorProto.FromString(message.SerializeToString())), tensor)


@given(st.lists(st.binary(max_size=200), max_size=6), st.booleans())
def test_strings_survive_the_round_trip(values: list[bytes], as_content: bool) -> None:  # noqa: FBT001
    tensor = HostTensor(dtypes.STRING, host_tensor.string_array(values, len(values)))
    same(host_tensor.from_proto(host_tensor.to_proto(tensor, as_content=as_content)), tensor)


@pytest.mark.parametrize(
    ("sent", "count", "expected"), [([], 2, [0, 0]), ([5], 3, [5, 5, 5]), ([1, 2, 3], 2, [1, 2]), ([300], 1, [300])]
)
def test_value_lists_are_filled_and_cut_as_in_the_cpp_server(sent: list[int], count: int, expected: list[int]) -> None:
    message = tensor_pb2.TensorProto(dtype=dtypes.INT32, int_val=sent)
    message.tensor_shape.dim.add(size=count)
    assert host_tensor.from_proto(message).array.tolist() == expected


def test_values_of_a_narrow_type_are_cut_to_its_width() -> None:
    message = tensor_pb2.TensorProto(dtype=dtypes.INT8, int_val=[300])
    message.tensor_shape.dim.add(size=1)
    assert host_tensor.from_proto(message).array.tolist() == [44]


@given(st.binary(max_size=200))
def test_any_message_is_a_tensor_or_a_value_error(data: bytes) -> None:
    message = tensor_pb2.TensorProto()
    try:
        message.ParseFromString(data)
    except Exception:  # noqa: BLE001 - protobuf's own refusal is not this test's subject
        return
    try:
        tensor = host_tensor.from_proto(message)
    except ValueError:
        return
    assert tensor.dtype == message.dtype


@given(st.binary(max_size=100), st.integers(1, 20))
def test_the_wire_reader_never_fails_otherwise_than_by_value_error(data: bytes, field: int) -> None:
    try:
        for part in wire_format.bytes_fields(data, field):
            assert len(part) <= len(data)
    except ValueError:
        pass


@given(st.lists(st.tuples(st.integers(1, 100), st.binary(max_size=300)), max_size=6))
def test_the_wire_reader_finds_what_was_written(fields: list[tuple[int, bytes]]) -> None:
    data = b"".join(wire_format.length_delimited(number, payload) for number, payload in fields)
    for number in {number for number, _ in fields}:
        assert [bytes(p) for p in wire_format.bytes_fields(data, number)] == [p for n, p in fields if n == number]
