"""Version directories: which ones are there, and which ones a policy wants."""

import logging
from dataclasses import dataclass
from pathlib import Path

from model_server.config.settings import ModelConfig, VersionPolicy
from model_server.errors import ServingError, invalid_argument

_INT64 = 2**63
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class VersionDirectory:
    """A numbered directory under a model's base path."""

    version: int
    path: str


def parse_version(name: str) -> int | None:
    """The number that a directory name stands for (`00000123` is 123), or None."""
    text = name.strip()
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not (digits.isascii() and digits.isdigit()):
        return None
    number = int(text)
    return number if 0 <= number < _INT64 else None


def find(model: ModelConfig) -> list[VersionDirectory]:
    """Directories that `model` should serve now, lowest version first; ServingError if its base path is not there."""
    try:
        children = sorted(child.name for child in Path(model.base_path).iterdir())
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise _no_base_path(model, error) from error
    present: dict[int, str] = {}
    for child in children:
        version = parse_version(child)
        if version in present:
            _log.warning(
                "Duplicate version directories detected. Version %d will be loaded from %s, "
                "Version directory %s will be ignored.",
                version, present[version], child,
            )  # fmt: skip
        elif version is not None:
            present[version] = str(Path(model.base_path) / child)
    for version in set(model.policy.specific) - present.keys():
        _log.warning(
            "Version %d of servable %s, which was requested to be served as a 'specific' version in the servable's "
            "version policy, was not found in the file system",
            version, model.name,
        )  # fmt: skip
    return [VersionDirectory(version, present[version]) for version in sorted(wanted(model.policy, set(present)))]


def wanted(policy: VersionPolicy, present: set[int]) -> set[int]:
    """The versions among `present` that the policy selects."""
    if policy.specific:
        return present & set(policy.specific)
    if policy.everything:
        return present
    return set(sorted(present)[-policy.latest :])


def none_found(model: ModelConfig) -> str:
    """What is said of a base path without a version directory."""
    return (
        f"No versions of servable {model.name} found under base path {model.base_path}. "
        "Did you forget to name your leaf directory as a number (eg. '/1/')?"
    )


def _no_base_path(model: ModelConfig, error: OSError | ValueError) -> ServingError:
    status = "NOT_FOUND" if isinstance(error, FileNotFoundError) else "FAILED_PRECONDITION"
    return invalid_argument(
        f"Could not find base path {model.base_path} for servable {model.name} "
        f"with error {status}: {model.base_path}; {getattr(error, 'strerror', None) or error}"
    )
