"""A faster way from gRPC's C core to one unary method and back, beside grpc's own Python server.

grpc's server spends about 300 us of CPU on a call before and after the handler: a context, a condition, a future and several
closures for each, and a hand-over to a pool. Here a thread waits at a completion queue of its own, takes the request's bytes and
gives them to the handler, which may answer at once or later, from any thread: about 50 us for everything around it. Ports,
TLS, shutdown, limits and all other methods stay with grpc's server, because it is the same C server: only who is told of calls
of the method differs.

This uses names of grpc that are not public, so `lane_choice.py` imports it only with a release of grpcio that it is tested with.
`attach` returns None where the names are not as expected after all, and then grpc's server serves the method.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from grpc._cython import cygrpc

from model_server.errors import Code, ServingError

#: Calls that the C core may hand over before a thread takes the next.
_ARMED = 16
_NO_FLAGS = 0
_ARRIVED, _RECEIVED, _CLOSED, _SENT = range(4)
#: The words of grpc's server for a call that ends without a message.
_NO_MESSAGE = "{} requires exactly one request message."
_log = logging.getLogger(__name__)


class Call:
    """One call. It is answered exactly once, by `answer` or `fail`, from any thread."""

    __slots__ = ("_call", "cancelled", "deadline")

    def __init__(self, call: Any, deadline: float) -> None:
        self._call = call
        self.deadline = deadline
        self.cancelled = False

    def timeout_ms(self) -> int:
        """Milliseconds until the deadline, at least 1; 0 if there is none."""
        remaining = self.deadline - time.time()
        return 0 if remaining > _FOREVER_SECONDS else max(int(remaining * 1000), 1)

    def answer(self, payload: bytes) -> None:
        """Send the response and the status OK."""
        self._send(
            cygrpc.SendInitialMetadataOperation(None, _NO_FLAGS),
            cygrpc.SendMessageOperation(payload, _NO_FLAGS),
            cygrpc.SendStatusFromServerOperation(None, cygrpc.StatusCode.ok, b"", _NO_FLAGS),
        )

    def fail(self, error: ServingError) -> None:
        """Send a status that is not OK."""
        self._send(
            cygrpc.SendInitialMetadataOperation(None, _NO_FLAGS),
            cygrpc.SendStatusFromServerOperation(None, int(error.code), error.grpc_message.encode(), _NO_FLAGS),
        )

    def _send(self, *operations: Any) -> None:
        self._call.start_server_batch(operations, (_SENT, self))


_FOREVER_SECONDS = 2**31 / 1000
Handler = Callable[[bytes, Call], None]


class FastLane:
    """Takes the calls of one method off a grpc server, from `start` until the server is stopped."""

    def __init__(self, request: Any, queue: Any, method: str, handler: Handler) -> None:
        self._request, self._queue, self._method, self._handler = request, queue, method, handler
        self._under_way = 0
        self._armed = 0

    def start(self) -> None:
        """Accept calls; the server must have been started."""
        for _ in range(_ARMED):
            self._arm()
        threading.Thread(target=self._serve, name="grpc-lane", daemon=True).start()

    def _arm(self) -> None:
        self._request(self._queue, self._queue, self._method, (_ARRIVED, None))
        self._armed += 1

    def _serve(self) -> None:
        while self._armed or self._under_way:
            event = self._queue.poll()
            kind, call = event.tag
            if kind == _ARRIVED:
                self._armed -= 1
                if event.success:  # else the server is being stopped
                    self._arm()
                    self._accept(event)
            elif kind == _RECEIVED:
                self._received(call, event.batch_operations[0].message())
            elif kind == _CLOSED:
                call.cancelled = event.batch_operations[0].cancelled()
                self._under_way -= 1
            # An event holds on to its call, which must be let go before the next wait.
            event = call = None

    def _accept(self, event: Any) -> None:
        call = Call(event.call, event.call_details.deadline)
        self._under_way += 1
        event.call.start_server_batch((cygrpc.ReceiveCloseOnServerOperation(_NO_FLAGS),), (_CLOSED, call))
        event.call.start_server_batch((cygrpc.ReceiveMessageOperation(_NO_FLAGS),), (_RECEIVED, call))

    def _received(self, call: Call, message: bytes | None) -> None:
        if message is None:
            call.fail(ServingError(Code.UNIMPLEMENTED, _NO_MESSAGE.format(self._method)))
            return
        try:
            self._handler(message, call)
        except Exception:  # noqa: BLE001 - one request must not end the thread that serves all
            _log.exception("a request failed unexpectedly")
            call.fail(ServingError(Code.INTERNAL, "Internal error; see the log of the server."))


def attach(server: Any, method: str, handler: Handler) -> FastLane | None:
    """Take the calls of `method` from `server`, a grpc.Server before its start. None, and a warning, where that cannot be done."""
    try:
        state = server._state  # noqa: SLF001 - see the module's docstring
        core, registered = state.server, state.registered_method_handlers
        # Every name is looked up before anything is changed.
        request, register, add_queue = (
            core.request_registered_call,
            core.register_method,
            core.register_completion_queue,
        )
        queue = cygrpc.CompletionQueue()
        if registered.pop(method, None) is None:
            register(method)
        add_queue(queue)
        lane = FastLane(request, queue, method, handler)
    except (AttributeError, TypeError) as error:
        _log.warning("Predict goes through grpc's public API: this grpcio has no fast lane (%s)", error)
        return None
    return lane
