"""One loaded version of a model: its signatures and a way to run them, with a count of who is using it."""

import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

from model_server.tensors.host_tensor import HostTensor

DEFAULT_SIGNATURE = "serving_default"


class Runner(Protocol):
    """Runs a graph: a session, or a batcher in front of one."""

    def run(self, feeds: Sequence[tuple[str, HostTensor]], fetches: Sequence[str], timeout_ms: int) -> list[HostTensor]:
        """(tensor name, value) in, the values of `fetches` out; `timeout_ms` 0 means none."""

    def close(self) -> None:
        """Free what the runner holds; nothing runs any more."""


#: Takes the outcome of a run: the values of its fetches, or why there are none.
Done = Callable[[list[HostTensor] | Exception], None]


@runtime_checkable
class QueuedRunner(Protocol):
    """A runner that takes a request without a wait for its answer."""

    def submit(
        self, feeds: Sequence[tuple[str, HostTensor]], fetches: Sequence[str], timeout_ms: int, done: Done
    ) -> None:
        """Enqueue; `done` gets the outcome, on another thread. ServingError if that fails; then `done` is not called."""


class Servable:
    """A version that takes requests. `close` waits until nobody uses it."""

    def __init__(self, name: str, version: int, signatures: dict[str, Any], runner: Runner) -> None:
        self.name, self.version = name, version
        self.signatures = signatures
        self._runner = runner
        self.queued = runner if isinstance(runner, QueuedRunner) else None
        self._users = 0
        self._closing = False
        self._idle = threading.Condition()

    def retain(self) -> bool:
        """Keep the version loaded until `release`; False if it is being unloaded already."""
        with self._idle:
            if self._closing:
                return False
            self._users += 1
            return True

    def release(self) -> None:
        """Undo one `retain`."""
        with self._idle:
            self._users -= 1
            if not self._users:
                self._idle.notify_all()

    def run(self, feeds: Sequence[tuple[str, HostTensor]], fetches: Sequence[str], timeout_ms: int) -> list[HostTensor]:
        """Run the graph; see `Runner.run`."""
        return self._runner.run(feeds, fetches, timeout_ms)

    def close(self) -> None:
        """Wait for the last user, then free the model."""
        with self._idle:
            self._closing = True
            self._idle.wait_for(lambda: not self._users)
        self._runner.close()
