"""Reads an HTTP answer, or its absence: which failure is final, which is worth another attempt, what identifies a file."""

import email.utils
import http.client
import socket
import ssl
import time

from slipway_tools.archives.names import shown
from slipway_tools.errors import ModelError, Reason
from slipway_tools.sources.authorities import Authorities
from slipway_tools.uri import Uri

OK, PARTIAL, BAD_RANGE = 200, 206, 416
_RETRIED = {408, 425, 429, 500, 502, 503, 504}
_FORBIDDEN = {401, 403, 407, 451}
_GONE = {404, 410}


class TransientError(Exception):
    """An attempt failed in a way that the next one may not."""

    def __init__(self, why: str, retry_after: float | None = None) -> None:
        super().__init__(why)
        self.retry_after = retry_after


def refuse_status(uri: Uri, response: http.client.HTTPResponse) -> None:
    """Raise for every status that brings no content: TransientError where a later attempt may, ModelError elsewhere."""
    status, words = response.status, f"{response.status} {shown(response.reason)[1:-1]}".strip()
    if status in {OK, PARTIAL, BAD_RANGE}:
        return
    if status in _RETRIED:
        raise TransientError(f"the server answers {words}", _retry_after(response.headers.get("Retry-After")))
    if status in _GONE:
        raise ModelError(
            Reason.SOURCE_NOT_FOUND,
            f"spec.model.uri: {uri.shown} does not exist ({words}); publish the model there or correct the address",
        )
    if status in _FORBIDDEN:
        raise ModelError(
            Reason.SOURCE_FORBIDDEN,
            f"spec.model.uri: {uri.shown} may not be read ({words}); make it readable without credentials",
        )
    raise ModelError(Reason.SOURCE_UNREACHABLE, f"spec.model.uri: {uri.shown} answers {words}; correct the address")


def _retry_after(text: str | None) -> float | None:
    """Parse Retry-After: seconds or a date."""
    if text is None:
        return None
    if text.strip().isdecimal():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def validator(response: http.client.HTTPResponse) -> str | None:
    """Return what identifies this very file byte for byte: a strong ETag, or a date older than the answer."""
    etag = response.headers.get("ETag", "")
    if etag.startswith('"'):
        return etag
    modified, now = response.headers.get("Last-Modified"), response.headers.get("Date")
    if etag or not modified or not now:
        return None
    try:
        age = email.utils.parsedate_to_datetime(now) - email.utils.parsedate_to_datetime(modified)
    except (ValueError, TypeError):  # TypeError: only one of them says its time zone
        return None
    # RFC 9110, 8.8.2.2: a file may change twice within the second that a date can express.
    return modified if age.total_seconds() >= 1 else None


def network_error(uri: Uri, error: Exception, authorities: Authorities) -> Exception:
    """Sort a network failure into those worth another attempt and those that are final."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return ModelError(
            Reason.SOURCE_UNREACHABLE,
            f"spec.model.uri: the certificate of {uri.host} is not accepted ({error.verify_message}); "
            f"{authorities.advice(error.verify_code)}",
        )
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
        return ModelError(
            Reason.SOURCE_UNREACHABLE,
            f"spec.model.uri: {uri.host} does not speak TLS properly ({error.reason}); check the port",
        )
    if isinstance(error, socket.gaierror):
        return TransientError(f"the name {uri.host} does not resolve")
    if isinstance(error, TimeoutError):
        return TransientError("the server does not answer")
    if isinstance(error, http.client.HTTPException):
        return TransientError(f"the server broke off or answers nonsense ({type(error).__name__})")
    return TransientError(getattr(error, "strerror", None) or "the connection failed")
