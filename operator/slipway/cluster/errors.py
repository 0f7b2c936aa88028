"""What can go wrong with an API request, in the four ways that the loop treats differently."""


class ClusterError(Exception):
    """An API request that did not do what it was for; its text is the server's."""


class Conflict(ClusterError):  # noqa: N818 - named for what it is
    """Somebody else holds the field, the name or the newer version."""


class Refused(ClusterError):  # noqa: N818
    """The server understood and said no (invalid, forbidden, quota): the same request gets the same answer."""


class Gone(ClusterError):  # noqa: N818
    """There is no such object, or no such kind."""


class TryLater(ClusterError):  # noqa: N818
    """The server could not be reached, is overloaded or broken: the same request may succeed later."""

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        """Keep the seconds that the server asked to be left alone for."""
        super().__init__(message)
        self.retry_after = retry_after


class Expired(ClusterError):  # noqa: N818
    """The resourceVersion of a watch or of a page is too old: list again."""
