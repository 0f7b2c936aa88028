"""What can go wrong with an API request, in the ways that callers treat differently, and which response means what."""

import re
from collections.abc import Callable, Mapping


class ApiError(Exception):
    """An API request that failed; its text is the server's."""


class ConflictError(ApiError):
    """HTTP 409: another manager owns the field, another object has the name, or a newer version exists."""


class RejectedError(ApiError):
    """The server rejected the request (invalid, forbidden, quota): the same request gets the same answer."""


class NotFoundError(ApiError):
    """HTTP 404: there is no such object, or no such kind."""


class NamespaceEndsError(NotFoundError):
    """HTTP 403 or 404: the namespace is being terminated or gone, so nothing can be created in it."""


class RetryableError(ApiError):
    """The server is unreachable, overloaded or broken: the same request may succeed later."""

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        """Keep the seconds of the Retry-After header."""
        super().__init__(message)
        self.retry_after = retry_after


class ResourceExpiredError(ApiError):
    """HTTP 410: the resourceVersion of a watch, or the continue token of a list, is too old: list again."""


_BY_STATUS: Mapping[int, Callable[[str], ApiError]] = {
    404: NotFoundError,
    409: ConflictError,
    410: ResourceExpiredError,
}
_TRANSIENT = frozenset({408, 425, 429})
_MALFORMED = ("failed to create typed patch object", "failed to convert new object")
"""Messages of server-side apply, with a 500, for a body that does not fit the schema: retrying is useless."""
_NAMESPACE_ENDS = re.compile(r'because it is being terminated|^namespaces "[^"]*" not found')


def classify(status: int, message: str, requested: str, retry_after: float) -> ApiError:
    """Return the error that a response is.

    Args:
        status: HTTP status, 400 or above.
        message: the server's.
        requested: verb and resource of the request.
        retry_after: seconds in the Retry-After header; 0 without it.
    """
    if status in {403, 404} and _NAMESPACE_ENDS.search(message):
        return NamespaceEndsError(message)
    if status in _BY_STATUS:
        return _BY_STATUS[status](message)
    if status in _TRANSIENT or (status >= 500 and not message.startswith(_MALFORMED)):  # noqa: PLR2004 - HTTP
        return RetryableError(f"{requested}: {message}", retry_after)
    return RejectedError(message)
