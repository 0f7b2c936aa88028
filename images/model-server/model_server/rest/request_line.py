"""The first line of an HTTP request, read as libevent's evhttp reads it, which is the HTTP server of the C++ server.

It decides what the path is: a target may be a path, an absolute URI, or a path behind `//host`, and a query stays part of what the
REST API matches. Python's http.server would drop the query's meaning, join leading slashes and answer faults with pages of its own.
"""

import re
from dataclasses import dataclass
from http import HTTPStatus

#: What evhttp is told to accept.
METHODS = frozenset({"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"})
_SHORTEST = len("GET / HTTP/1.0")
_VERSION = re.compile(r"HTTP/[01]\.[0-9]{1,3}")
_PLAIN = r"[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2}"
_PCHAR = rf"(?:{_PLAIN}|[:@])"
_TARGET = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*:)?"
    rf"(?P<authority>//(?:(?:{_PLAIN}|:)*@)?(?:\[[0-9A-Fa-f:.]+\]|(?:{_PLAIN})*)(?::[0-9]{{0,5}})?(?=[/?#]|$))?"
    rf"(?P<path>(?:{_PCHAR}|/)*)"
    rf"(?P<rest>(?:\?(?:{_PCHAR}|[/?])*)?(?:\#(?:{_PCHAR}|[/?])*)?)"
)


class LineError(Exception):
    """A request line that is none; `status` is the answer."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


@dataclass(frozen=True, slots=True)
class Target:
    """What a request asks for: the path, and the path with its query and fragment."""

    path: str
    full: str


def target(line: str) -> Target:
    """The target of a request line, whose end of line may be there or not.

    LineError: 400 if the line is not `METHOD URI HTTP/0.x` or `HTTP/1.x`, 501 if the method is not one of METHODS.
    """
    line = line.rstrip("\r\n").rstrip(" ")
    method, space, rest = line.partition(" ")
    uri, other_space, version = rest.rpartition(" ")
    if len(line) < _SHORTEST or not space or not other_space or not _VERSION.fullmatch(version):
        raise LineError(HTTPStatus.BAD_REQUEST)
    found = _TARGET.fullmatch(uri)
    if found is None or (not found["scheme"] and ":" in found["path"].partition("/")[0]):
        raise LineError(HTTPStatus.BAD_REQUEST)
    if method not in METHODS:
        raise LineError(HTTPStatus.NOT_IMPLEMENTED)
    return Target(found["path"], found["path"] + found["rest"])


def page(status: HTTPStatus) -> bytes:
    """The body of an answer that is not the REST API's, as evhttp lays it out."""
    return (
        f"<HTML><HEAD>\n<TITLE>{status} {status.phrase}</TITLE>\n</HEAD><BODY>\n<H1>{status.phrase}</H1>\n</BODY></HTML>\n"
    ).encode()
