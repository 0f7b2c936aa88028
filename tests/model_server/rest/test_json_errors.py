"""What is wrong with a body that is no JSON, and where: RapidJSON's words and offsets."""

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_server.errors import ServingError
from model_server.rest import json_errors
from model_server.rest.json_text import parse

NAME, COLON = "Missing a name for object member.", "Missing a colon after a name of object member."
MEMBER, ELEMENT = "Missing a comma or } after an object member.", "Missing a comma or ] after an array element."
VALUE, QUOTE = "Invalid value.", "Missing a closing quotation mark in string."
HEX, SURROGATE = "Incorrect hex digit after \\u escape in string.", "The surrogate pair in string is invalid."
ESCAPE, ENCODING = "Invalid escape character in string.", "Invalid encoding in string."
BIG = "Number too big to be stored in double."

# Each was compared with RapidJSON itself.
FAULTS = [
    (b" \n", "The document is empty.", 2), (b"{", NAME, 1), (b"[", VALUE, 1), (b"[1", ELEMENT, 2), (b"[1,", VALUE, 3),
    (b"[1,]", VALUE, 3), (b'{"a"', COLON, 4), (b'{"a":', VALUE, 5), (b'{"a":}', VALUE, 5), (b'{"a":1', MEMBER, 6),
    (b'{"a":1,}', NAME, 7), (b"{a:1}", NAME, 1), (b"[x]", VALUE, 1), (b"tru", VALUE, 3), (b"[nul", VALUE, 4),
    (b"[-a", VALUE, 2), (b"[1.", "Miss fraction part in number.", 3), (b"[1e+", "Miss exponent in number.", 4),
    (b"[01]", ELEMENT, 2), (b'["', QUOTE, 2), (b'["\\', ESCAPE, 2), (b'["\\x"]', ESCAPE, 2), (b'["\\u12"]', HEX, 2),
    (b'["\\ud800"]', SURROGATE, 2), (b'["\\ud800\\u0041"]', SURROGATE, 2), (b'["a\n"]', ENCODING, 3),
    (b"[1, 1e400]", BIG, 4), (b"[Na]", VALUE, 3), (b"[1 2]", ELEMENT, 3), (b'{"a":1 "b":2}', MEMBER, 7),
    (b'{"a" 1}', COLON, 5), (b"[1}", ELEMENT, 2), (b"[.5]", VALUE, 1), (b"[+1]", VALUE, 1),
    ('{"é": x}'.encode(), VALUE, 7), (b"\xef\xbb\xbf[1", ELEMENT, 5), (b'{"a":[1,{"b":2', MEMBER, 14),
]  # fmt: skip


@pytest.mark.parametrize(("body", "text", "offset"), FAULTS)
def test_faults(body: bytes, text: str, offset: int) -> None:
    assert json_errors.find(body) == json_errors.Fault(text, offset)
    with pytest.raises(ServingError) as caught:
        parse(body)
    assert caught.value.message == f"JSON Parse error: {text} at offset: {offset}"


@pytest.mark.parametrize(
    "body", [b"{}", b"[]", b'{"a": [1, -2.5e3, NaN, -Infinity, Inf, true, null, "\\u00e9\\ud83d\\ude00"]} x', b"0 1"]
)
def test_what_rapidjson_takes_has_no_fault(body: bytes) -> None:
    assert json_errors.find(body) is None


def test_nesting_is_no_recursion() -> None:
    deep = b"[" * 200_000
    assert json_errors.find(deep) == json_errors.Fault(VALUE, 200_000)
    assert json_errors.find(deep + b"]" * 200_000) is None
    with pytest.raises(ServingError, match="nested too deeply"):
        parse(b'{"a":' + deep + b"]" * 200_000 + b"}")


documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


@settings(deadline=None)
@given(documents, st.booleans())
def test_json_has_no_fault(document: object, ascii_only: bool) -> None:  # noqa: FBT001 - drawn
    text = json.dumps(document, ensure_ascii=ascii_only)
    assert json_errors.find(text.encode("utf-8", "surrogatepass")) is None


@settings(deadline=None)
@given(st.binary(max_size=60) | st.text('{}[]:,"\\u0129dDcCeE+-.NaInfity truelsn\n', max_size=20).map(str.encode))
def test_any_body_is_parsed_or_refused_in_words(body: bytes) -> None:
    fault = json_errors.find(body)
    assert fault is None or 0 <= fault.offset <= len(body)
    with contextlib.suppress(ServingError):
        parse(body)
