"""What can go wrong with an API request, in the ways that callers treat differently."""


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
