"""Calls whose bytes are no message of their type: refused like every other bad request; between grpc's server and the methods.

grpc's own server aborts such a call from the thread that decodes it, and once more from the one that waits for the request. The
second attempt fails, and what it held stays in memory: 15 KB for each call. So decoding must not fail where grpc can see it.
"""

from collections.abc import Callable
from typing import Any

import grpc

#: The words of grpc's server.
DETAILS = "Exception deserializing request!"
_UNDECODABLE = object()


class Refusal(grpc.ServerInterceptor):  # type: ignore[misc] # grpc ships no annotations
    """Answers INTERNAL to a single request that cannot be decoded. Streams of requests pass as they are."""

    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        """Return the method's handler, or one around it; None if there is no such method."""
        handler = continuation(handler_call_details)
        if handler is None or handler.request_streaming or handler.request_deserializer is None:
            return handler
        wrap = (
            grpc.unary_stream_rpc_method_handler if handler.response_streaming else grpc.unary_unary_rpc_method_handler
        )
        return wrap(
            _refusing(handler.unary_stream if handler.response_streaming else handler.unary_unary),
            request_deserializer=_lenient(handler.request_deserializer),
            response_serializer=handler.response_serializer,
        )


def _lenient(decode: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def attempt(payload: bytes) -> Any:
        try:
            return decode(payload)
        except Exception:  # noqa: BLE001 - the message classes of other packages may fail in other ways
            return _UNDECODABLE

    return attempt


def _refusing(method: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def call(request: Any, context: Any) -> Any:
        if request is _UNDECODABLE:
            context.abort(grpc.StatusCode.INTERNAL, DETAILS)
        return method(request, context)

    return call
