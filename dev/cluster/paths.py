"""Where the cluster tooling keeps things: binaries in a user cache keyed by version, a cluster's state in one folder.

Nothing is ever written into the repository.
"""

import os
import re
from pathlib import Path

from dev.errors import DevError

DEFAULT_NAME = "slipway"
TOOLS = Path(__file__).parent / "tools"

_NAME = re.compile(r"[a-z]([-a-z0-9]{0,28}[a-z0-9])?")


def cache_dir() -> Path:
    """Folder of built binaries: $SLIPWAY_CACHE, by default ~/.cache/slipway."""
    return Path(os.environ.get("SLIPWAY_CACHE") or Path.home() / ".cache" / "slipway")


def state_root() -> Path:
    """Folder that holds one folder per cluster: $SLIPWAY_STATE, by default /var/lib/slipway (root) or in the home."""
    given = os.environ.get("SLIPWAY_STATE")
    if given:
        return Path(given).absolute()
    return Path("/var/lib/slipway") if os.geteuid() == 0 else Path.home() / ".local" / "state" / "slipway"


def state_dir(name: str) -> Path:
    """Folder of one cluster. Raises DevError when `name` cannot name a cluster."""
    if not _NAME.fullmatch(name):
        raise DevError(
            f"{name!r} cannot name a cluster",
            "Use at most 30 lower-case letters, digits and hyphens, beginning with a letter.",
        )
    return state_root() / name


def kubeconfig_path(name: str = DEFAULT_NAME) -> Path:
    """Where `up` writes the kubeconfig of the cluster called `name`; the file exists only after `up`."""
    return state_dir(name) / "kubeconfig"
