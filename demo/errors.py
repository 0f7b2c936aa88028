"""What can go wrong in a way that its reader can do something about."""


class DemoError(Exception):
    """A sentence for the terminal; no traceback is shown with it."""
