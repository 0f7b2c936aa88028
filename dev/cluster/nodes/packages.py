"""The Debian packages that a local cluster uses as they are: which are missing, and the one command that gets them."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from dev.errors import DevError
from dev.shell import find, run

# A command that only its package provides -> the package.
COMMANDS = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "openssl": "openssl",
}
CNI_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"), Path("/usr/libexec/cni"))
CNI_PLUGINS = ("ptp", "host-local", "loopback", "portmap")
# apt-get gives up where another one runs, such as that of images.build, which takes this lock too.
APT_LOCK = "/run/lock/slipway-apt"
_INSTALL_SECONDS = 900


def missing(find_command: Callable[[str], str | None] = find, folders: Iterable[Path] = CNI_FOLDERS) -> list[str]:
    """Names of the packages that are not installed, in order and each once."""
    absent = {package for command, package in COMMANDS.items() if find_command(command) is None}
    if cni_folder(folders) is None:
        absent.add("containernetworking-plugins")
    return sorted(absent)


def cni_folder(folders: Iterable[Path] = CNI_FOLDERS) -> Path | None:
    """Folder that holds all the CNI plugins that are used, or None."""
    return next((folder for folder in folders if all((folder / plugin).exists() for plugin in CNI_PLUGINS)), None)


def install_command(packages: Iterable[str]) -> str:
    """The one line that installs `packages` on Debian and Ubuntu."""
    return f"apt-get update && apt-get install --yes --no-install-recommends {' '.join(packages)}"


def require(*, install: bool, say: Callable[[str], None]) -> None:
    """Makes sure that every package is there; installs what is missing when `install` says so.

    Raises DevError, naming the packages and the command, otherwise.
    """
    absent = missing()
    if absent and install:
        if find("apt-get") is None:
            raise DevError(
                f"missing: {', '.join(absent)}, and there is no apt-get to install them with",
                "Install them with the package manager of this distribution (names as in Debian).",
            )
        say(f"installing {' '.join(absent)}")
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        run(["flock", APT_LOCK, "sh", "-euc", install_command(absent)], env=env, timeout=_INSTALL_SECONDS)
        absent = missing()
    if absent:
        raise DevError(
            f"{len(absent)} package{'s are' if len(absent) > 1 else ' is'} missing: {', '.join(absent)}",
            f"Install with `{install_command(absent)}`, or let `up --install-packages` do it.",
        )
