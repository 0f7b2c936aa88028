"""The connections of the HTTP port: how many there may be, how long each may take, and what a shutdown waits for.

A connection is waiting (for a request, or for the rest of its head), reading (a body) or answering. The first two have a time by
which they must have got on, whatever trickles in meanwhile, so that slow clients cannot hold all connections for ever; and where
there is no room for a new one, that which has waited longest makes room.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

#: How often overdue connections are looked for, as a share of the time that a client may be silent.
_SWEEPS = 15
_NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Limits:
    """`connections` at a time; a client may be silent, or take for the head of a request, `idle_seconds`."""

    connections: int = 1024
    idle_seconds: float = 75.0


@dataclass(slots=True)
class _State:
    busy: bool
    until: float  # monotonic seconds


class Connections:
    """All connections of a server. Safe for any thread."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = limits, clock
        self._open: dict[socket.socket, _State] = {}
        self._changed = threading.Condition()

    def admit(self, connection: socket.socket) -> bool:
        """Note a new connection, which waits; False where there is no room and none that could make any."""
        with self._changed:
            if len(self._open) >= self._limits.connections and not self._make_room():
                return False
            self._open[connection] = _State(busy=False, until=self._later())
        return True

    def forget(self, connection: socket.socket) -> None:
        """A connection has ended."""
        with self._changed:
            self._open.pop(connection, None)
            self._changed.notify_all()

    def begin(self, connection: socket.socket) -> None:
        """The head of a request is there; its body is read."""
        with self._changed:
            if state := self._open.get(connection):
                state.busy, state.until = True, self._later()

    def progress(self, connection: socket.socket) -> None:
        """A large body gets on."""
        if state := self._open.get(connection):
            state.until = self._later()

    def answering(self, connection: socket.socket) -> None:
        """The body is there. How long the answer takes is the server's business."""
        if state := self._open.get(connection):
            state.until = _NEVER

    def end(self, connection: socket.socket) -> None:
        """The request is answered; the connection waits for the next one."""
        with self._changed:
            if state := self._open.get(connection):
                state.busy, state.until = False, self._later()
            self._changed.notify_all()

    def sweep(self) -> None:
        """Close what is overdue."""
        now = self._clock()
        with self._changed:
            for connection, state in self._open.items():
                if state.until < now:
                    _shut(connection)

    def sweep_forever(self, stopped: threading.Event) -> None:
        """Sweep until `stopped`."""
        while not stopped.wait(self._limits.idle_seconds / _SWEEPS):
            self.sweep()

    def finish(self, deadline: float) -> bool:
        """Close waiting connections, wait until `deadline` (monotonic) for the others' requests; True if all finished."""
        with self._changed:
            for connection, state in self._open.items():
                if not state.busy:
                    _shut(connection)
            return self._changed.wait_for(
                lambda: not any(state.busy for state in self._open.values()), max(deadline - time.monotonic(), 0)
            )

    def _later(self) -> float:
        return self._clock() + self._limits.idle_seconds

    def _make_room(self) -> bool:
        waiting = {connection: state.until for connection, state in self._open.items() if not state.busy}
        if not waiting:
            return False
        longest = min(waiting, key=waiting.__getitem__)
        del self._open[longest]
        _shut(longest)
        return True


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
