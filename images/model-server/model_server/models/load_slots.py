"""How many models are loaded at the same time: many while no port is open yet, few while requests are being answered."""

import threading
from types import TracebackType


class Slots:
    """A semaphore whose size can change; a context manager."""

    def __init__(self, size: int) -> None:
        self._size, self._taken = size, 0
        self._changed = threading.Condition()

    def resize(self, size: int) -> None:
        """Change the number of slots; those that are taken stay taken."""
        with self._changed:
            self._size = size
            self._changed.notify_all()

    def __enter__(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._taken < self._size)
            self._taken += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._taken -= 1
            self._changed.notify()
