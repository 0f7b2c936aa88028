"""The one error type of the development tools: a sentence that says what is wrong and, apart from it, what to do."""


class DevError(Exception):
    """Something the user can act on. The command lines print it without a traceback and exit with 1."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message}\n  {hint}" if hint else message)
        self.message = message
        self.hint = hint
