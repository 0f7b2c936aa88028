"""The quick way through a JSON body: what it gives is what the exact way gives, and in doubt it gives nothing."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_server.errors import ServingError
from model_server.protobuf.generated import meta_graph_pb2
from model_server.rest import fast_json, json_text, predict_json
from model_server.tensors import dtypes

numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
nested = st.recursive(numbers | st.booleans() | st.none() | st.text(), lambda inner: st.lists(inner, max_size=4))
rows = st.lists(nested | st.dictionaries(st.text(max_size=3), nested, max_size=3), max_size=4)
documents = st.dictionaries(
    st.sampled_from(["instances", "inputs", "signature_name", "x", 'quo"te', "é"]),
    rows | nested | st.dictionaries(st.text(max_size=3), nested, max_size=3),
    max_size=3,
)
spaces = st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t: ")])


@given(documents, spaces, st.booleans())
def test_what_it_gives_is_what_the_exact_way_gives(
    document: dict[str, object],
    separators: tuple[str, str],
    ascii_only: bool,  # noqa: FBT001 - hypothesis passes it by position
) -> None:
    body = json.dumps(document, separators=separators, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    quick = fast_json.parse(body)
    assert quick is None or repr(quick) == repr(json_text.parse(body))


@given(documents, st.binary(max_size=3), st.integers(min_value=0))
def test_a_body_that_was_changed_is_read_like_the_exact_way_reads_it_or_not_at_all(
    document: dict[str, object], change: bytes, at: int
) -> None:
    body = json.dumps(document).encode()
    at %= len(body) + 1
    body = body[:at] + change + body[at + len(change) :]
    quick = fast_json.parse(body)
    if quick is not None and not _beyond_64_bits(body):
        assert repr(quick) == repr(json_text.parse(body))


def _beyond_64_bits(body: bytes) -> bool:
    """A digit put into a number can make an integer for which orjson gives a float."""
    seen: list[int] = []
    json.loads(body, parse_int=lambda text: seen.append(int(text)))
    return any(not -(2**63) <= number < 2**64 for number in seen)


@pytest.mark.parametrize(
    "body",
    [
        b'{"instances": [1.0, 2], "signature_name": "other"}',
        b'{"instances": [{"x": [1.0], "y": 2}, {"x": [3.0], "y": 4}]}',
        b'{"inputs": {"x": [[1.0]], "y": true}}',
    ],
)
def test_plain_requests_take_it(body: bytes) -> None:
    assert fast_json.parse(body) == json.loads(body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"inputs": [1], "inputs": [2]}',
        b'{"instances": [{"x": 1, "x": 2}]}',
        b'{"inputs": {"x": 1, "x": 2}}',
        b'{"instances": ["text"]}',
        b'{"instances": [{"x": {"b64": "AA=="}}]}',
        b'{"instances": [NaN]}',
        b'{"instances": [1e400]}',
        b'{"instances": [1]} and more',
        b'\xef\xbb\xbf{"instances": [1]}',
        b'{"signature_name": "\xff", "instances": [1]}',
        b'{"signature_name": "\\ud800", "instances": [1]}',
        b"[1]",
        b"",
    ],
)
def test_what_is_not_plain_is_left_to_the_exact_way(body: bytes) -> None:
    assert fast_json.parse(body) is None


def test_errors_are_worded_by_the_exact_way() -> None:
    inputs = {"x": meta_graph_pb2.SignatureDef().inputs["x"]}
    inputs["x"].dtype = dtypes.INT64
    with pytest.raises(ServingError, match="JSON Value: 36893488147419103232 Type: Number is not of expected type"):
        predict_json.parse_predict(b'{"instances": [36893488147419103232]}', lambda _: inputs)
