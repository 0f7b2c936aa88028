"""Bounds on what is taken from a source: nobody's archive decides how much memory, disk or time a pod spends."""

from dataclasses import dataclass

from slipway_tools.errors import ModelError, Reason

MIB = 1 << 20
CHUNK = 256 << 10
DEFAULT_MAX_BYTES = 10 << 30
DEFAULT_MAX_FILES = 10_000


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps of one fetch: `max_bytes` for the download and again for the unpacked model, `max_files` for its entries."""

    max_bytes: int = DEFAULT_MAX_BYTES
    max_files: int = DEFAULT_MAX_FILES


@dataclass(slots=True)
class Budget:
    """What is left of the limits while entries arrive; raises TooLarge the moment one is exceeded."""

    limits: Limits
    what: str
    entries: int = 0
    bytes: int = 0

    def entry(self) -> None:
        """Count one more file or folder."""
        self.entries += 1
        if self.entries > self.limits.max_files:
            raise ModelError(
                Reason.TOO_LARGE,
                f"{self.what} has more than {self.limits.max_files} files and folders; "
                "remove what does not belong to the model or raise the limit (--max-files)",
            )

    def data(self, count: int) -> None:
        """Count `count` more bytes of file content."""
        self.bytes += count
        if self.bytes > self.limits.max_bytes:
            raise too_large(self.what, self.limits.max_bytes)

    def announce(self, count: int) -> None:
        """Refuse a file by its announced size, before a byte of it is written."""
        if count < 0 or self.bytes + count > self.limits.max_bytes:
            raise too_large(self.what, self.limits.max_bytes)


def too_large(what: str, max_bytes: int) -> ModelError:
    """Return the error for content above the byte limit."""
    return ModelError(
        Reason.TOO_LARGE,
        f"{what} is larger than {max_bytes} bytes ({max_bytes / MIB:.1f} MiB); "
        "publish a smaller model or raise spec.resources.limits.ephemeral-storage (--max-bytes)",
    )
