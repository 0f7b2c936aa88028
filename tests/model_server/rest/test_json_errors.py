"""What is wrong with a body that is no JSON, and where: RapidJSON's words and offsets."""

import contextlib
import json
import re
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
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


#: Pieces of which bodies are made that are nearly JSON.
PIECES = [b"{", b"}", b"[", b"]", b":", b",", b'"', b"\\", b"\\u", b"\\ud800", b"\\udc00", b"0", b"1", b"-", b"+", b".", b"e", b"E9",
          b"N", b"a", b"Inf", b"inity", b"true", b"nul", b" ", b"\n", b'"a"', b"\xc3\xa9", b"\xff", b"\0", b"\x01", b"x"]  # fmt: skip


def said_by_rapidjson(body: bytes) -> json_errors.Fault | None:
    """What RapidJSON itself says: through its Python binding, whose own habits are taken out.

    The binding parses the newest RapidJSON, with quotation marks around brackets; TensorFlow Serving has release 1.1.0. It knows
    no byte order mark, wants UTF-8 and nothing after the value, and does not go as deep.
    """
    rapidjson: Any = pytest.importorskip("rapidjson")
    start = 3 if body.startswith(b"\xef\xbb\xbf") else 0
    try:
        rapidjson.loads(re.sub(rb"[\x80-\xff]", b"~", body[start:]))
    except rapidjson.JSONDecodeError as error:
        offset, text = re.fullmatch(r"Parse error at offset (\d+): (.*)", str(error)).groups()  # type: ignore[union-attr]
        if text.startswith("The document root must not be followed"):
            return None
        return json_errors.Fault(re.sub("'([]}])'", r"\1", text), int(offset) + start)
    return None


@pytest.mark.parametrize("body", [body for body, _, _ in FAULTS])
def test_rapidjson_says_the_same(body: bytes) -> None:
    assert json_errors.find(body) == said_by_rapidjson(body)


@settings(deadline=None, max_examples=500)
@given(st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join))
@example(b" \0")
@example(b'["\0"]')
def test_rapidjson_says_the_same_of_any_body(body: bytes) -> None:
    assume(not re.search(rb"[eE]\+?[0-9]{3}", body))  # RapidJSON refuses 0e999, which is 0 here
    assert json_errors.find(body) == said_by_rapidjson(body)


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
