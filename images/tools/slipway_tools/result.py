"""What a finished container leaves behind: one JSON object as its termination message.

The kubelet puts it into the pod's status, where the operator reads it.
"""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slipway_tools.digest import Measured
from slipway_tools.errors import ModelError

DEFAULT_LOG = Path("/dev/termination-log")
# The kubelet divides 12 KiB among a pod's containers: fetch, prober, server, and up to three sidecars of other people.
_MAX_MESSAGE_CHARS = 1000
MAX_BYTES = 2048


@dataclass(frozen=True, slots=True)
class Fetched:
    """A model that is in its place: its digest, version number, size in bytes and number of files.

    `golden` is the digest of the golden set that came with it, None where there is no gate.
    """

    digest: str
    version: int
    bytes: int
    files: int
    golden: str | None = None

    @classmethod
    def of(cls, measured: Measured, version: int) -> "Fetched":
        """Join what was measured with the version it is served as."""
        return cls(measured.digest, version, measured.bytes, measured.files)

    def json(self) -> str:
        """Return the termination message of success."""
        found = {"digest": self.digest, "version": self.version, "bytes": self.bytes, "files": self.files}
        golden = {} if self.golden is None else {"golden": self.golden}
        return json.dumps(found | golden, separators=(",", ":"))


def cut(message: str) -> str:
    """Return a message, or its beginning if it is too long for a termination message."""
    return message if len(message) <= _MAX_MESSAGE_CHARS else f"{message[:_MAX_MESSAGE_CHARS]}…"


def failure(error: ModelError) -> str:
    """Return the termination message of a failure, never longer than the kubelet keeps."""
    message = cut(error.message)
    text = json.dumps({"reason": str(error.reason), "message": message}, ensure_ascii=False, separators=(",", ":"))
    if len(text.encode(errors="replace")) > MAX_BYTES:
        return failure(ModelError(error.reason, message[: len(message) // 2]))
    return text


def log_path(arguments: Sequence[str], default: Path | None) -> Path | None:
    """Find --termination-log without a parser, so that parsing errors get there too."""
    for position, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == "--termination-log":
            following = arguments[position + 1 : position + 2]
            return Path(value) if equals else Path(following[0]) if following else None
    return default


def write(path: Path, text: str) -> None:
    """Write the termination message; a path that cannot be written is reported on stderr and changes nothing else.

    The default path is the kubelet's, which creates it: elsewhere (a shell, a test) nothing is made in /dev.
    """
    flags = os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC | (0 if path == DEFAULT_LOG else os.O_CREAT)
    try:
        descriptor = os.open(path, flags, 0o644)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as out:
            out.write(text)
    except FileNotFoundError:
        if path != DEFAULT_LOG:
            print(f"no termination message written: {path} is not there", file=sys.stderr)
    except OSError as error:
        print(f"no termination message written to {path}: {error.strerror}", file=sys.stderr)
