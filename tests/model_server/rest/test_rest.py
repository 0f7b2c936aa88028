"""REST: forms, number formatting, errors, and what lies beside the API."""

import gzip
import http.client
import json
import math
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.model_server.harness import Server

HALF = "/v1/models/half:predict"
KITCHEN = "/v1/models/kitchen:predict"


def test_row_format_in_the_layout_of_the_cpp_server(server: Server) -> None:
    answer = server.post(KITCHEN, {"instances": [1.0, 2.0, 5.0]})
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.body == b'{\n    "predictions": [2.5, 3.0, 4.5\n    ]\n}'


def test_row_format_nests_lists_on_one_line(server: Server) -> None:
    answer = server.post(HALF, {"instances": [[1.0], [2.0]]})
    assert answer.body == b'{\n    "predictions": [[2.5], [3.0]\n    ]\n}'


def test_columnar_format_puts_each_value_on_a_line(server: Server) -> None:
    answer = server.post(HALF, {"inputs": [[1], [2]]})
    expected = (
        '{\n    "outputs": [\n        [\n            2.5\n        ],\n        [\n            3.0\n        ]\n    ]\n}'
    )
    assert answer.body.decode() == expected


def test_several_inputs_and_outputs_are_objects(server: Server) -> None:
    rows = server.post(KITCHEN, {"signature_name": "pair", "instances": [{"a": 1, "b": 2}, {"a": 3.5, "b": 4}]})
    assert rows.json == {"predictions": [{"product": 2.0, "sum": 3.0}, {"product": 14.0, "sum": 7.5}]}
    expected = (
        '{\n    "predictions": [\n        {\n            "product": 2.0,\n            "sum": 3.0\n        },\n'
        '        {\n            "product": 14.0,\n            "sum": 7.5\n        }\n    ]\n}'
    )
    assert rows.body.decode() == expected
    columns = server.post(KITCHEN, {"signature_name": "pair", "inputs": {"a": [1, 3.5], "b": [2, 4]}})
    assert columns.json == {"outputs": {"product": [2.0, 14.0], "sum": [3.0, 7.5]}}


def test_a_keras_model_answers_as_in_process(server: Server, models: Path) -> None:
    expected = np.load(models / "digits_expected.npy")
    answer = server.post("/v1/models/digits:predict", {"instances": np.ones((2, 8, 8, 1)).tolist()})
    np.testing.assert_allclose(answer.json["predictions"], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("sent", "received"),
    [
        ("0.2", "0.2"), ("1", "1.0"), ("16777217", "16777216.0"), ("1e10", "1e+10"), ("9000000", "9e+06"),
        ("0.00003", "3e-05"), ("0.1234567", "0.123456702"), ("-0", "0.0"), ("-0.0", "-0.0"),
        ("NaN", "NaN"), ("Infinity", "Infinity"), ("-Infinity", "-Infinity"), ("3.4028235e38", "3.40282347e+38"),
    ],
)  # fmt: skip
def test_float32_numbers_round_trip(server: Server, sent: str, received: str) -> None:
    answer = server.post(KITCHEN, f'{{"signature_name": "identity_float32", "instances": [{sent}]}}')
    assert answer.body.decode() == f'{{\n    "predictions": [{received}\n    ]\n}}'
    value = float(received)
    assert math.isnan(value) or np.float32(value) == np.float32(float(sent))


@pytest.mark.parametrize(
    ("dtype", "sent", "received"),
    [
        ("float64", "[0.1, 1e300, 3]", [0.1, 1e300, 3.0]),
        ("int8", "[-128, 127]", [-128, 127]),
        ("int16", "[-5]", [-5]),
        ("int32", "[2147483647, -2147483648]", [2147483647, -2147483648]),
        ("int64", "[9223372036854775807]", [9223372036854775807]),
        ("uint8", "[255]", [255]),
        ("uint32", "[4294967295]", [4294967295]),
        ("uint64", "[18446744073709551615]", [18446744073709551615]),
        ("bool", "[true, false]", [True, False]),
        ("string", '["a", "\\u00e9\\n", {"b64": "AAE="}]', ["a", "é\n", "\x00\x01"]),
    ],
)
def test_types_that_json_can_carry(server: Server, dtype: str, sent: str, received: list[Any]) -> None:
    for form, key in (("instances", "predictions"), ("inputs", "outputs")):
        answer = server.post(KITCHEN, f'{{"signature_name": "identity_{dtype}", "{form}": {sent}}}')
        assert answer.status == 200, answer.body
        assert answer.json == {key: received}


def test_names_that_end_in_bytes_come_back_as_base64(server: Server) -> None:
    answer = server.post(KITCHEN, {"signature_name": "text", "inputs": {"s": ["a", {"b64": "/w=="}]}})
    outputs = json.loads(answer.body.decode("utf-8", "surrogateescape"))["outputs"]
    assert outputs["joined"] == ["aa", "\udcff\udcff"]
    assert outputs["joined_bytes"] == [{"b64": "YWE="}, {"b64": "//8="}]


def test_paths_ignore_case_and_take_versions_and_labels(server: Server) -> None:
    for path in ("/V1/Models/half:predict", "/v1/models/half/versions/1:predict", "/v1/models/half/labels/stable:predict",
                 "/v1/models/h%61lf:predict"):  # fmt: skip
        assert server.post(path, {"instances": [[2.0]]}).json == {"predictions": [[3.0]]}, path


def test_gzip_and_chunked_bodies_are_read(server: Server) -> None:
    body = json.dumps({"instances": [[2.0]]}).encode()
    assert server.http("POST", HALF, gzip.compress(body), {"Content-Encoding": "gzip"}).status == 200
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=30)
    connection.request("POST", HALF, iter([body[:5], body[5:]]), {"Transfer-Encoding": "chunked"}, encode_chunked=True)
    assert json.loads(connection.getresponse().read()) == {"predictions": [[3.0]]}
    connection.close()


def test_a_connection_serves_many_requests(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=30)
    for _ in range(3):
        connection.request("POST", HALF, '{"instances": [[2.0]]}')
        assert connection.getresponse().read().startswith(b"{")
    first = connection.sock
    connection.request("POST", HALF, "nonsense")
    assert connection.getresponse().read()
    assert connection.sock is first
    connection.close()


BAD = [
    ("", 400, "JSON Parse error: The document is empty"),
    ("[1, 2]", 400, "JSON Value: [1, 2] Is not object"),
    ('{"instances": [1,, 2]}', 400, "JSON Parse error: Invalid value. at offset: 17"),
    ('{"instances": [1 2]}', 400, "JSON Parse error: Missing a comma or ] after an array element. at offset: 17"),
    ('{"a": 1 "b": 2}', 400, "JSON Parse error: Missing a comma or } after an object member. at offset: 8"),
    ("{1: 2}", 400, "JSON Parse error: Missing a name for object member. at offset: 1"),
    ('{"a" 1}', 400, "JSON Parse error: Missing a colon after a name of object member. at offset: 5"),
    ("{}", 400, "Missing 'inputs' or 'instances' key"),
    ('{"instances": []}', 400, None),
    ('{"instances": 3}', 400, None),
    ('{"instances": [[1.0]], "inputs": [[1.0]]}', 400, None),
    ('{"signature_name": 3, "instances": [[1.0]]}', 400, None),
    ('{"signature_name": "S", "instances": [[1.0]]}', 400, 'Serving signature name: "S" not found in signature def'),
    ('{"instances": [["a"]]}', 400,
     ("Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: \"a\" Type: String is not of "
     "expected type: float")),
    ('{"instances": [[true]]}', 400,
     ("Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: true Type: True is not of "
     "expected type: float")),
    ('{"instances": [[1.0], [1.0, 2.0]]}', 400,
     "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting tensor size: 1 but got: 2"),
    ('{"instances": [[1.0], [[1.0]]]}', 400,
     "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting shape [1] but got: [1,1]"),
    ('{"instances": [{"q": [1.0]}]}', 400,
     ("Failed to process element: 0 key: q of 'instances' list. Error: INVALID_ARGUMENT: JSON object: does not have named "
     "input: q")),
    ('{"inputs": {"q": [1.0]}}', 400, "Missing named input: x in 'inputs' object."),
    ('{"inputs": [[1.0], 2.0]}', 400,
     "JSON Value: 2.0 found at incorrect level: 2 in the JSON DOM. Expected at level: 2"),
    ('{"inputs": [[1.0], [2.0, 3.0]]}', 400, "Encountered list at unexpected size: 2 at level: 1 expected size: 1"),
    ('{"inputs": [1.0, [2.0]]}', 400, "Encountered list at unexpected level: 1 expected < 1"),
    ('{"instances": [[1e999]]}', 400, None),
    ('{"instances": ' + "[" * 100_000 + "]" * 100_000 + "}", 400, None),
    ('{"instances": [["\\ud800"]]}', 400, None),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status", "message"), BAD, ids=[body[:40] for body, _, _ in BAD])
def test_bad_bodies_are_refused_in_the_words_of_the_contract(
    server: Server, body: str, status: int, message: str | None
) -> None:
    answer = server.post(HALF, body)
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json) == ["error"]
    if message is not None:
        assert answer.error == message
    assert answer.body.startswith(b'{\n    "error": "')
    assert server.post(HALF, {"instances": [[2.0]]}).json == {"predictions": [[3.0]]}


@pytest.mark.parametrize(
    ("document", "status", "message"),
    [
        ({"signature_name": "identity_int32", "instances": [1.5]}, 400,
         ("Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: 1.5 Type: Number is not of "
         "expected type: int32")),
        ({"signature_name": "identity_int32", "instances": [2**31]}, 400, None),
        ({"signature_name": "identity_string", "instances": [{"b64": "!"}]}, 400,
         "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: Unable to base64 decode"),
        ({"signature_name": "identity_float16", "inputs": [1.0]}, 501,
         "Conversion of JSON Value: 1.0 to type: half"),
        ({"signature_name": "identity_float16", "instances": [1.0]}, 400,
         ("Failed to process element: 0 of 'instances' list. Error: UNIMPLEMENTED: Conversion of JSON Value: 1.0 to type: "
         "half")),
        ({"signature_name": "pair", "instances": [1.0]}, 400,
         ("instances is a plain list, but expecting list of objects as multiple input tensors required as per "
         "tensorinfo_map")),
        ({"signature_name": "pair", "instances": [{"a": 1.0}]}, 400, None),
        ({"signature_name": "total", "instances": [1.0, 2.0]}, 400, "Tensor name: total has no shape information "),
        ({"signature_name": "ragged", "instances": [1.0, 2.0]}, 400,
         "Tensor name: whole has inconsistent batch size: 2 expecting: 1"),
        ({"signature_name": "matrix", "instances": [[1.0, 2.0, 3.0, 4.0]]}, 400, None),
    ],
)  # fmt: skip
def test_bad_values_are_refused(server: Server, document: dict[str, Any], status: int, message: str | None) -> None:
    answer = server.post(KITCHEN, document)
    assert answer.status == status, answer.body
    if message is not None:
        assert answer.error == message


def test_the_columnar_form_gives_what_the_row_form_cannot(server: Server) -> None:
    assert server.post(KITCHEN, {"signature_name": "total", "inputs": [1, 2]}).json == {"outputs": 3.0}
    answer = server.post(KITCHEN, {"signature_name": "ragged", "inputs": [1, 2]})
    assert answer.json == {"outputs": {"first": [1.0], "whole": [1.0, 2.0]}}


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("POST", "/v1/models/nope:predict", 404, "Servable not found for request: Latest(nope)"),
        ("POST", "/v1/models/half/versions/9:predict", 404, "Servable not found for request: Specific(half, 9)"),
        ("POST", "/v1/models/half/labels/x:predict", 400, "Unrecognized servable version label: x"),
        ("POST", "/v1/models/half/versions/99999999999999999999:predict", 400,
         "Failed to convert version: 99999999999999999999 to numeric."),
        ("POST", "/v1/models/half:explain", 400, "Malformed request: POST /v1/models/half:explain"),
        ("POST", "/v1/models/half", 400, "Malformed request: POST /v1/models/half"),
        ("PUT", HALF, 400, f"Malformed request: PUT {HALF}"),
        ("DELETE", "/v1/models/half", 400, "Malformed request: DELETE /v1/models/half"),
        ("GET", "/v1/models", 400, "Missing model name in request."),
        ("GET", "/v1/models/nope", 404, "Could not find any versions of model nope"),
        ("GET", "/v1/models/half/versions/9", 404, "Could not find version 9 of model half"),
        ("GET", "/v1/models/nope/metadata", 404, "Servable not found for request: Latest(nope)"),
        ("POST", "/v1/models/half:classify", 400, None),
    ],
)  # fmt: skip
def test_bad_paths(server: Server, method: str, path: str, status: int, message: str | None) -> None:
    answer = server.http(method, path, '{"instances": [[1.0]]}' if method == "POST" else None)
    assert answer.status == status
    if message is not None:
        assert answer.error == message


def test_outside_the_api_there_is_only_a_page_that_says_so(server: Server) -> None:
    for path in ("/", "/health", "/v2/models", "/monitoring/prometheus/metrics/"):
        answer = server.http("GET", path)
        assert (answer.status, answer.headers["content-type"]) == (404, "text/html")
        assert b"<H1>Not Found</H1>" in answer.body


def test_head_is_malformed_and_has_no_body(server: Server) -> None:
    answer = server.http("HEAD", "/v1/models/half")
    assert (answer.status, answer.body) == (400, b"")


def test_cors_headers_and_preflight(server: Server) -> None:
    preflight = server.http("OPTIONS", HALF, None, {"Origin": "https://example.com"})
    assert preflight.status == 200
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert preflight.headers["access-control-allow-methods"] == "POST, GET"
    assert preflight.headers["access-control-allow-headers"] == "Content-Type"
    assert server.http("OPTIONS", HALF).status == 400
    assert server.post(HALF, {"instances": [[1.0]]}).headers["access-control-allow-origin"] == "*"


def test_a_client_that_asks_before_sending_is_told_to_send(server: Server) -> None:
    body = b'{"instances": [[2.0]]}'
    head = f"POST {HALF} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.rest_port), timeout=30) as connection:
        connection.sendall(head.encode())
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")


def raw(server: Server, request: bytes) -> bytes:
    """Send bytes as they are; what came back until the server closed the connection."""
    with socket.create_connection(("127.0.0.1", server.rest_port), timeout=30) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    return received


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"POST /v1/models/half:predict HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/models/half:predict HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
        b"POST /v1/models/half:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\nshort",
        b"POST /v1/models/half:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        b"POST /v1/models/half:predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /v1/models/half:predict HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
        b"POST /v1/models/half:predict HTTP/1.1\r\nHost: x\r\nContent-Encoding: br\r\nContent-Length: 3\r\n\r\nabc",
    ],
)
def test_what_is_not_http_is_refused_and_the_connection_closed(server: Server, request_bytes: bytes) -> None:
    assert b" 400 " in raw(server, request_bytes).partition(b"\r\n")[0]
    assert server.post(HALF, {"instances": [[2.0]]}).json == {"predictions": [[3.0]]}
