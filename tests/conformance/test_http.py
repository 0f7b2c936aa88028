"""HTTP below the REST API: what counts as the path, as compressed, and as a request at all."""

import gzip
import json
import socket

import pytest

from tests.conformance.wire import PATIENCE, Target

HALF = "/v1/models/half:predict"
BODY = json.dumps({"instances": [[2.0]]}).encode()
ANSWER = {"predictions": [[3.0]]}
PAGE = "<HTML><HEAD>\n<TITLE>{0} {1}</TITLE>\n</HEAD><BODY>\n<H1>{1}</H1>\n</BODY></HTML>\n"


def sent(target: Target, line: bytes, *headers: bytes, body: bytes = BODY) -> tuple[int, bytes]:
    """Status and body of the answer to a request with this first line, after which the connection ends."""
    host, _, port = target.rest_address.rpartition(":")
    lines = (line, b"Host: x", b"Connection: close", b"Content-Length: %d" % len(body), *headers, b"", body)
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        connection.sendall(b"\r\n".join(lines))
        received = b""
        while part := connection.recv(65536):
            received += part
    head, _, answer = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), answer


@pytest.mark.parametrize(
    ("line", "status", "message"),
    [
        (f"POST {HALF}?x=1", 400, f"Malformed request: POST {HALF}?x=1"),
        (f"POST {HALF}?", 400, f"Malformed request: POST {HALF}?"),
        (f"POST {HALF}#x", 400, f"Malformed request: POST {HALF}#x"),
        ("POST /v1/models/half?x=1:predict", 404, "Servable not found for request: Latest(half?x=1)"),
        ("GET /v1/models/half?x=1", 404, "Could not find any versions of model half?x=1"),
        ("GET /v1/models/half/metadata?x=1", 400, "Malformed request: GET /v1/models/half/metadata?x=1"),
        ("GET /v1/?x=1", 400, "Malformed request: GET /v1/?x=1"),
    ],
)
def test_a_query_is_part_of_the_path(target: Target, line: str, status: int, message: str) -> None:
    """The API has no parameters: what follows the path is read with it, and seldom means anything."""
    found, answer = sent(target, f"{line} HTTP/1.1".encode())
    assert (found, json.loads(answer)["error"]) == (status, message)


@pytest.mark.parametrize("host", ["http://models.example:8501", "HTTP://u:p@[::1]:8501", "//models", "//"])
def test_a_host_before_the_path(target: Target, host: str) -> None:
    """Absolute URIs are taken without their host, and so is what follows two slashes."""
    found, answer = sent(target, f"POST {host}{HALF} HTTP/1.1".encode())
    assert (found, json.loads(answer)) == (200, ANSWER)


@pytest.mark.parametrize("path", [f"/{HALF}", "//v1/v2/models/half", "/v1", "*", "http://models.example"])
def test_what_is_not_the_api(target: Target, path: str) -> None:
    """`//v1/models/…` is the path /models/… of a host v1, and the page with 404 answers it."""
    assert sent(target, f"POST {path} HTTP/1.1".encode()) == (404, PAGE.format(404, "Not Found").encode())


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense",
        b"",
        b"GET /v1/models/half",
        b"GET /v1/models/half HTTP/2.0",
        b"GET /v1/models/half HTTP/1.1.1",
        b"GET /v1/models/half HTTPS/1.1",
        b"GET  /v1/models/half HTTP/1.1",
        b"GET /v1/models/h alf HTTP/1.1",
        b"GET /v1/models/\xc3\xa9 HTTP/1.1",
        b"GET /v1/models/%zz HTTP/1.1",
        b'GET /v1/models/"half" HTTP/1.1',
        b"GET http://[nowhere/v1/models/half HTTP/1.1",
        b"GET /v1/models/half\tHTTP/1.1",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_a_request_line_that_is_none(target: Target, line: bytes) -> None:
    """It is answered with the page of HTTP's own errors, and the connection ends."""
    assert sent(target, line, body=b"") == (400, PAGE.format(400, "Bad Request").encode())


@pytest.mark.parametrize("method", ["TRACE", "CONNECT"])
def test_methods_that_are_not_served(target: Target, method: str) -> None:
    """What is HTTP but not allowed is not implemented."""
    path = "models.example:443" if method == "CONNECT" else HALF
    assert sent(target, f"{method} {path} HTTP/1.1".encode(), body=b"") == (
        501,
        PAGE.format(501, "Not Implemented").encode(),
    )


def test_an_expectation_that_is_unknown(target: Target) -> None:
    """Only 100-continue may be expected."""
    line = f"POST {HALF} HTTP/1.1".encode()
    assert sent(target, line, b"Expect: 100-continue", body=BODY)[0] in (100, 200)
    assert sent(target, line, b"Expect: more") == (417, PAGE.format(417, "Expectation Failed").encode())


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "gzip, identity", "identity,gzip", " gzip "])
def test_bodies_that_are_gzip(target: Target, encoding: str) -> None:
    """An encoding that names gzip is read as gzip, once."""
    line = f"POST {HALF} HTTP/1.1".encode()
    found, answer = sent(target, line, b"Content-Encoding: " + encoding.encode(), body=gzip.compress(BODY))
    assert (found, json.loads(answer)) == (200, ANSWER)


@pytest.mark.parametrize("encoding", ["identity", ""])
def test_bodies_that_are_plain(target: Target, encoding: str) -> None:
    """Identity is no encoding."""
    found, answer = sent(target, f"POST {HALF} HTTP/1.1".encode(), b"Content-Encoding: " + encoding.encode())
    assert (found, json.loads(answer)) == (200, ANSWER)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [("gzip", BODY), ("br", b"\x8b\x00"), ("gzip, gzip", gzip.compress(gzip.compress(BODY, mtime=0), mtime=0))],
)
def test_bodies_that_are_not_what_they_say(target: Target, encoding: str, body: bytes) -> None:
    """Refused with 400; in which words differs."""
    found, _ = sent(target, f"POST {HALF} HTTP/1.1".encode(), b"Content-Encoding: " + encoding.encode(), body=body)
    assert found == 400
