"""REST: paths, forms, numbers, errors, and what HTTP brings along. Whole bodies are in `golden/`."""

import gzip
import http.client
import json
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.wire import PATIENCE, Target

HALF, KITCHEN = "/v1/models/half:predict", "/v1/models/kitchen:predict"
GOLDEN = Path(__file__).parent / "golden"
GOOD = {"instances": [[2.0]]}
ANSWER = {"predictions": [[3.0]]}


@pytest.mark.parametrize(
    ("golden", "path", "document"),
    [
        ("row.txt", HALF, {"instances": [[1.0], [2.0]]}),
        ("column.txt", HALF, {"inputs": [[1.0], [2.0]]}),
        ("objects.txt", KITCHEN, {"signature_name": "pair", "instances": [{"a": 1, "b": 2}]}),
        ("error.txt", "/v1/models/nope:predict", GOOD),
    ],
)
def test_bodies_to_the_byte(target: Target, golden: str, path: str, document: Any) -> None:
    """The layout is that of RapidJSON's pretty printer: rows on one line, columns one value a line."""
    assert target.post(path, document).body == (GOLDEN / golden).read_bytes()


def test_rows_and_columns(target: Target) -> None:
    """`instances` gives `predictions`, one for each row; `inputs` gives `outputs`, unnamed where there is one only."""
    rows = [{"a": 1, "b": 2}, {"a": 3.5, "b": 4}]
    answer = target.post(KITCHEN, {"signature_name": "pair", "instances": rows})
    assert answer.json == {"predictions": [{"sum": 3.0, "product": 2.0}, {"sum": 7.5, "product": 14.0}]}
    answer = target.post(KITCHEN, {"signature_name": "pair", "inputs": {"a": [1, 3.5], "b": [2, 4]}})
    assert answer.json == {"outputs": {"sum": [3.0, 7.5], "product": [2.0, 14.0]}}
    assert target.post(KITCHEN, {"signature_name": "total", "inputs": [1, 2]}).json == {"outputs": 3.0}


@pytest.mark.parametrize(
    ("sent", "received"),
    [("0.2", "0.2"), ("1", "1.0"), ("16777217", "16777216.0"), ("-0.0", "-0.0"), ("0.1234567", "0.123456702"),
     ("NaN", "NaN"), ("Infinity", "Infinity"), ("-Infinity", "-Infinity")],
)  # fmt: skip
def test_numbers(target: Target, sent: str, received: str) -> None:
    """Floats are printed so that they read back to the same float32, whole ones with `.0`; NaN and infinities are words."""
    answer = target.post(KITCHEN, f'{{"signature_name": "identity_float32", "instances": [{sent}]}}')
    assert answer.body.decode() == f'{{\n    "predictions": [{received}\n    ]\n}}'


@pytest.mark.parametrize(
    ("dtype", "values"),
    [("float64", [0.1, 1e300, 3.0]), ("int8", [-128, 127]), ("int16", [-5]), ("int32", [2**31 - 1, -(2**31)]),
     ("int64", [2**63 - 1]), ("uint8", [255]), ("uint32", [2**32 - 1]), ("uint64", [2**64 - 1]), ("bool", [True, False]),
     ("string", ["a", "é\n"])],
)  # fmt: skip
def test_types_that_json_carries(target: Target, dtype: str, values: list[Any]) -> None:
    """bool, string, integers of 8 to 64 bits, float and double pass both ways in both forms."""
    for form, key in (("instances", "predictions"), ("inputs", "outputs")):
        answer = target.post(KITCHEN, {"signature_name": f"identity_{dtype}", form: values})
        assert (answer.status, answer.json) == (200, {key: values})


def test_binary_values(target: Target) -> None:
    """{"b64": …} stands for bytes; strings come back so only from outputs whose name ends in _bytes."""
    answer = target.post(KITCHEN, {"signature_name": "text", "inputs": {"s": [{"b64": "YQ=="}]}})
    assert answer.json == {"outputs": {"joined": ["aa"], "joined_bytes": [{"b64": "YWE="}]}}


@pytest.mark.parametrize(
    "path",
    [HALF, "/v1/models/half/versions/1:predict", "/v1/models/half/labels/stable:predict", "/v1/models/h%61lf:predict",
     "/V1/models/half:predict"],
)  # fmt: skip
def test_paths(target: Target, path: str) -> None:
    """Version or label in the path, names URL-decoded, letters of either case."""
    answer = target.post(path, GOOD)
    assert (answer.status, answer.headers["content-type"], answer.json) == (200, "application/json", ANSWER)


FAILED = "Failed to process element: 0 of 'instances' list. Error: "
# body (a string as it is), status, message (None: only that it is an error)
REFUSED: list[tuple[str, str, Any, int, str | None]] = [
    ("empty body", HALF, "", 400, "JSON Parse error: The document is empty"),
    ("no object", HALF, "[1, 2]", 400, None),
    ("bad JSON", HALF, '{"instances": [1,, 2]}', 400, "JSON Parse error: Invalid value. at offset: 17"),
    ("no key", HALF, {}, 400, "Missing 'inputs' or 'instances' key"),
    ("both keys", HALF, {"instances": [[1.0]], "inputs": [[1.0]]}, 400, None),
    ("no rows", HALF, {"instances": []}, 400, None),
    ("string for float", HALF, {"instances": [["a"]]}, 400,
     FAILED + 'INVALID_ARGUMENT: JSON Value: "a" Type: String is not of expected type: float'),
    ("float for int", KITCHEN, {"signature_name": "identity_int32", "instances": [1.5]}, 400,
     FAILED + "INVALID_ARGUMENT: JSON Value: 1.5 Type: Number is not of expected type: int32"),
    ("half in columns", KITCHEN, {"signature_name": "identity_float16", "inputs": [1.0]}, 501,
     "Conversion of JSON Value: 1.0 to type: half"),
    ("half in rows", KITCHEN, {"signature_name": "identity_float16", "instances": [1.0]}, 400,
     FAILED + "UNIMPLEMENTED: Conversion of JSON Value: 1.0 to type: half"),
    ("no rows in the output", KITCHEN, {"signature_name": "total", "instances": [1.0, 2.0]}, 400,
     "Tensor name: total has no shape information "),
    ("uneven outputs", KITCHEN, {"signature_name": "ragged", "instances": [1.0, 2.0]}, 400,
     "Tensor name: whole has inconsistent batch size: 2 expecting: 1"),
    ("unknown signature", HALF, {"signature_name": "S", "instances": [[1.0]]}, 400,
     'Serving signature name: "S" not found in signature def'),
    ("unknown model", "/v1/models/nope:predict", GOOD, 404, "Servable not found for request: Latest(nope)"),
    ("unknown version", "/v1/models/half/versions/9:predict", GOOD, 404,
     "Servable not found for request: Specific(half, 9)"),
    ("unknown label", "/v1/models/half/labels/L:predict", GOOD, 400, "Unrecognized servable version label: L"),
    ("unknown verb", "/v1/models/half:explain", GOOD, 400, "Malformed request: POST /v1/models/half:explain"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "status", "message"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_what_is_refused(target: Target, path: str, body: Any, status: int, message: str | None) -> None:
    """An error is JSON with the message that gRPC would give, and an HTTP status that follows from its code."""
    answer = target.post(path, body)
    assert (answer.status, answer.headers["content-type"], list(answer.json)) == (status, "application/json", ["error"])
    if message is not None:
        assert answer.json["error"] == message
    assert target.post(HALF, GOOD).json == ANSWER


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/v1/models", 400, "Missing model name in request."),
        ("GET", "/v1/models/nope", 404, "Could not find any versions of model nope"),
        ("PUT", HALF, 400, f"Malformed request: PUT {HALF}"),
        ("DELETE", "/v1/models/half", 400, "Malformed request: DELETE /v1/models/half"),
        ("GET", "/v1/other", 400, "Malformed request: GET /v1/other"),
    ],
)
def test_other_methods_and_paths(target: Target, method: str, path: str, status: int, message: str) -> None:
    """Everything else below /v1/ is malformed."""
    answer = target.http(method, path)
    assert (answer.status, answer.json["error"]) == (status, message)


def test_outside_the_api(target: Target) -> None:
    """Outside /v1/ and the metrics there is an HTML page with 404, and no health page."""
    for path in ("/", "/health", "/monitoring/prometheus/metrics/"):
        answer = target.http("GET", path)
        assert answer.status == 404
        assert answer.body.upper().startswith(b"<HTML>")


def test_cors(target: Target) -> None:
    """With the flag every answer allows every origin; OPTIONS needs an Origin."""
    preflight = target.http("OPTIONS", HALF, None, {"Origin": "https://example.com"})
    assert preflight.status == 200
    expected = {"origin": "*", "methods": "POST, GET", "headers": "Content-Type"}
    assert {key: preflight.headers[f"access-control-allow-{key}"] for key in expected} == expected
    assert target.http("OPTIONS", HALF).status == 400
    assert target.post(HALF, GOOD).headers["access-control-allow-origin"] == "*"


def test_gzip(target: Target) -> None:
    """Bodies may come compressed; answers never do."""
    body = gzip.compress(json.dumps(GOOD).encode())
    answer = target.http("POST", HALF, body, {"Content-Encoding": "gzip", "Accept-Encoding": "gzip"})
    assert (answer.status, answer.json) == (200, ANSWER)
    assert "content-encoding" not in answer.headers


def test_connections_are_kept(target: Target) -> None:
    """HTTP/1.1: one connection carries many requests, bad ones among them."""
    connection = http.client.HTTPConnection(target.rest_address, timeout=PATIENCE)
    connection.request("POST", HALF, json.dumps(GOOD))
    assert json.loads(connection.getresponse().read()) == ANSWER
    socket = connection.sock
    for body in ("nonsense", json.dumps(GOOD)):
        connection.request("POST", HALF, body)
        connection.getresponse().read()
    assert connection.sock is socket
    connection.close()
