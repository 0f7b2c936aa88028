"""Predict from bytes to bytes: what the fast lane calls for each request."""

import logging
import threading
from queue import SimpleQueue

from model_server.core import Core
from model_server.errors import Code, ServingError
from model_server.fast_lane import Call
from model_server.protos import predict_pb2

_log = logging.getLogger(__name__)


class PredictCalls:
    """Answers calls of Predict on threads of its own."""

    def __init__(self, core: Core, workers: int) -> None:
        self._core = core
        self._waiting: SimpleQueue[tuple[bytes, Call]] = SimpleQueue()
        import os

        for number in range(int(os.environ.get("W", workers))):
            threading.Thread(target=self._work, name=f"predict-{number}", daemon=True).start()

    def __call__(self, payload: bytes, call: Call) -> None:
        """Answer `call`, later."""
        self._waiting.put((payload, call))

    def _work(self) -> None:
        while True:
            payload, call = self._waiting.get()
            if call.cancelled:
                continue
            try:
                request = predict_pb2.PredictRequest.FromString(payload)
                response = self._core.predict(request, call.timeout_ms())
                call.answer(response.SerializeToString())
            except ServingError as error:
                call.fail(error)
            except Exception:  # noqa: BLE001 - logged, and hidden from the client
                _log.exception("a request failed unexpectedly")
                call.fail(ServingError(Code.INTERNAL, "Internal error; see the log of the server."))
