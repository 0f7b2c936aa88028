"""The model's address: parsed once, and printed only without what may be secret."""

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from slipway_tools.archives.names import shown
from slipway_tools.errors import ModelError, Reason

SCHEMES = ("pvc", "https", "http")


@dataclass(frozen=True, slots=True)
class Uri:
    """An address that has passed the checks.

    `shown` is safe to print: no user, no query string, no fragment.
    """

    scheme: str
    host: str
    port: int | None
    path: str
    query: str

    @property
    def shown(self) -> str:
        """Return the address as it may appear in logs and messages."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"

    @property
    def parts(self) -> tuple[str, ...]:
        """Return the parts of the path, with percent-encoding undone."""
        return tuple(part for part in unquote(self.path).split("/") if part not in {"", "."})


def parse(text: str, *, field: str = "spec.model.uri") -> Uri:
    """Parse and check an address.

    Raises:
        ModelError: UnsupportedScheme, or SourceForbidden for credentials, `..`, control characters and nonsense.
    """
    try:
        split = urlsplit(text)
        port = split.port
        text.encode()  # arguments that are not UTF-8 become surrogates
    except ValueError:
        raise ModelError(Reason.SOURCE_FORBIDDEN, f"{field}: this is not a valid URI; correct it") from None
    if split.scheme not in SCHEMES:
        # A scheme is short; anything else may be a pasted secret.
        scheme = f" {split.scheme!a}" if split.scheme.isalnum() and len(split.scheme) <= 12 else ""  # noqa: PLR2004
        raise ModelError(
            Reason.UNSUPPORTED_SCHEME, f"{field}: scheme{scheme} is not supported; use pvc://, https:// or http://"
        )
    if "@" in split.netloc:
        raise ModelError(
            Reason.SOURCE_FORBIDDEN,
            f"{field}: the URI has credentials in it, where everybody who may read the resource reads them; remove them",
        )
    host = split.hostname or ""
    if not host or any(char <= " " or char == "\x7f" for char in text):
        raise ModelError(Reason.SOURCE_FORBIDDEN, f"{field}: the URI has no host or has blanks in it; correct it")
    if split.scheme != "pvc" and not _is_host(host):
        raise ModelError(
            Reason.SOURCE_FORBIDDEN, f"{field}: the host of the URI is not a name or an address; correct it"
        )
    uri = Uri(split.scheme, host, port, split.path, split.query)
    if ".." in unquote(split.path).split("/"):
        raise ModelError(Reason.SOURCE_FORBIDDEN, f"{field}: {shown(uri.shown)} has '..' in its path; write it out")
    return uri


def _is_host(host: str) -> bool:
    """Return whether a resolver can look it up: no part is empty, or longer than 63 characters."""
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True
