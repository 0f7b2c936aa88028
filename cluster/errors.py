"""The one error type of the cluster tooling: a sentence that says what is wrong and, apart from it, what to do."""


class ClusterError(Exception):
    """Something the user can act on. The command line prints it without a traceback and exits with 1."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message}\n  {hint}" if hint else message)
        self.message = message
        self.hint = hint
