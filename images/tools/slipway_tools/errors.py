"""What can go wrong, in the words of the resource's status: one reason and one sentence for each failure."""

import errno
from enum import StrEnum


class Reason(StrEnum):
    """Why a model could not be fetched or published; the operator shows it as the reason of a condition."""

    SOURCE_NOT_FOUND = "SourceNotFound"
    SOURCE_UNREACHABLE = "SourceUnreachable"
    SOURCE_FORBIDDEN = "SourceForbidden"
    UNSUPPORTED_SCHEME = "UnsupportedScheme"
    UNSUPPORTED_ARCHIVE = "UnsupportedArchive"
    UNSAFE_ARCHIVE = "UnsafeArchive"
    TOO_LARGE = "TooLarge"
    VERSION_NOT_FOUND = "VersionNotFound"
    VERSION_EXISTS = "VersionExists"
    EMPTY_MODEL = "EmptyModel"
    NOT_A_SAVED_MODEL = "NotASavedModel"
    NO_SIGNATURES = "NoSignatures"
    DIGEST_MISMATCH = "DigestMismatch"
    SOURCE_CHANGED = "SourceChanged"
    GOLDEN_NOT_FOUND = "GoldenNotFound"
    GOLDEN_UNREACHABLE = "GoldenUnreachable"
    GOLDEN_FORBIDDEN = "GoldenForbidden"
    GOLDEN_TOO_LARGE = "GoldenTooLarge"
    GOLDEN_DIGEST_MISMATCH = "GoldenDigestMismatch"
    NO_SPACE = "NoSpace"
    INTERNAL_ERROR = "InternalError"


class ModelError(Exception):
    """A failure with a reason for machines and a sentence for people: what is wrong, where, and what to do."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class InterruptedBySignal(BaseException):
    """SIGTERM or SIGINT arrived: clean up and leave. Not an Exception, so that no retry loop swallows it."""

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.number = number


def from_os_error(error: OSError, doing: str) -> ModelError:
    """Give an operating system error on the destination volume the reason a user can act on.

    Args:
        error: what the system call raised.
        doing: what was being done, for the message ("writing the model").
    """
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return ModelError(
            Reason.NO_SPACE,
            f"no space left while {doing}: {error.strerror}; the pod needs room for the archive and the unpacked model "
            "together: give the volume or the node more ephemeral storage",
        )
    where = f" ({error.filename})" if error.filename else ""
    return ModelError(Reason.INTERNAL_ERROR, f"{doing} failed: {error.strerror or error}{where}")
