"""The one error type of the server: an absl status code and a message, as the wire shows them."""

from enum import IntEnum


class Code(IntEnum):
    """Status codes; the numbers are those of absl, gRPC and TensorFlow alike."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


HTTP_STATUS = {
    Code.OK: 200,
    Code.CANCELLED: 499,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.UNAUTHENTICATED: 401,
}

_MESSAGE_LIMIT = 1024


class ServingError(Exception):
    """A failed request, load or start. `str()` is `CODE: message`, as absl prints a status."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}"

    @property
    def http_status(self) -> int:
        """The HTTP status that REST answers with."""
        return HTTP_STATUS.get(self.code, 500)

    @property
    def grpc_message(self) -> str:
        """The message as gRPC sends it: cut to 1024 bytes, because it travels in a header."""
        raw = self.message.encode("utf-8", "replace")
        if len(raw) <= _MESSAGE_LIMIT:
            return raw.decode("utf-8")
        return raw[:_MESSAGE_LIMIT].decode("utf-8", "ignore") + "...TRUNCATED"


def invalid_argument(message: str) -> ServingError:
    """INVALID_ARGUMENT, by far the most frequent code."""
    return ServingError(Code.INVALID_ARGUMENT, message)
