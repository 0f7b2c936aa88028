"""What must be true of a machine before a local cluster is started on it, each with words for when it is not.

The kernel is tested by trying: a throw-away network namespace gets a link and the kinds of rule that kube-proxy writes.
"""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from dev.cluster.nodes import cgroups
from dev.errors import DevError
from dev.shell import find, run

_FREE_BYTES = 3 * 1024**3
_PROBES = {
    "links between namespaces (veth)": "ip link add probe0 type veth peer name probe1",
    "address translation (iptables nat, MASQUERADE)": "iptables -w -t nat -A POSTROUTING -j MASQUERADE",
    "connection tracking (iptables conntrack)": "iptables -w -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    "marks (iptables mark)": "iptables -w -t nat -A OUTPUT -m mark ! --mark 0x4000/0x4000 -j RETURN",
    "load balancing (iptables statistic)": "iptables -w -t nat -A OUTPUT -p tcp -m statistic --mode random "
    "--probability 0.5 -m comment --comment probe -j DNAT --to-destination 10.0.0.1:80",
}  # fmt: skip


def linux(platform: str = sys.platform) -> None:
    """Raises DevError anywhere but on Linux."""
    if platform != "linux":
        raise DevError(
            f"a local cluster needs Linux, and this is {platform}", "Start Docker: the kind provider is chosen then."
        )


def root(user: Callable[[], int] = os.geteuid) -> None:
    """Raises DevError unless run by root."""
    if user() != 0:
        raise DevError(
            "a local cluster needs root: it makes namespaces, mounts and control groups",
            f"Run `sudo {sys.executable} -m dev.cluster up`; or start Docker and the kind provider is chosen; or use a "
            "cluster you have with `up --context NAME`.",
        )


def cgroup_controllers(where: Path = cgroups.ROOT) -> None:
    """Raises DevError when the kernel offers no control groups, or not all that are needed."""
    if not where.is_dir() or not any(where.iterdir()):
        raise DevError(f"no control groups are mounted at {where}", f"Mount them: `mount -t cgroup2 none {where}`.")
    absent = cgroups.missing_controllers(where)
    if absent:
        raise DevError(
            f"the kernel offers no control group controller {', '.join(absent)}",
            "On a Raspberry Pi or the like add `cgroup_enable=memory` to the kernel's command line; inside a container "
            "run it with its own writable control groups (`--privileged --cgroupns=private`).",
        )
    if not os.access(where, os.W_OK):
        raise DevError(f"{where} is mounted read-only", "Inside a container, run it with `--privileged`.")


def overlay(filesystems: Path = Path("/proc/filesystems")) -> None:
    """Raises DevError when the kernel has no overlay file system, trying to load the module first."""
    if _has_overlay(filesystems):
        return
    if find("modprobe") is not None:
        run(["sh", "-c", "modprobe overlay || true"])
    if not _has_overlay(filesystems):
        raise DevError("the kernel has no overlay file system, which containers need", "Try `modprobe overlay`.")


def network_features(probe: Callable[[str], object] | None = None) -> None:
    """Raises DevError naming each feature of the kernel's network that is missing."""
    attempt = probe or (lambda script: run(["unshare", "--net", "sh", "-euc", script]))
    absent = []
    for feature, script in _PROBES.items():
        try:
            attempt(script)
        except DevError as error:
            absent.append((feature, error.message))
    if absent:
        raise DevError(
            f"the kernel lacks {', '.join(feature for feature, _ in absent)}",
            f"First of {len(absent)}: {absent[0][1]}. Load the modules (veth, nf_nat, xt_MASQUERADE, xt_statistic …) "
            "or use a kernel that has them.",
        )


def state_folder(folder: Path) -> None:
    """Raises DevError when `folder` cannot hold a cluster: hidden inside it, or too little space."""
    for hidden in ("/run", "/var/run", "/var/log", "/proc", "/sys"):
        if folder.resolve().is_relative_to(Path(hidden).resolve()):
            raise DevError(f"the state of a cluster cannot be under {hidden}", "Choose another SLIPWAY_STATE.")
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if free < _FREE_BYTES:
        raise DevError(
            f"only {free / 1024**3:.1f} GiB are free in {existing}, and {_FREE_BYTES / 1024**3:.0f} are needed",
            "Make room, or choose another place with SLIPWAY_STATE.",
        )


def may_lower_oom_score(status: str) -> bool:
    """True when the process with this /proc/PID/status has CAP_SYS_RESOURCE (bit 24)."""
    effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective, 16) >> 24 & 1)


def _has_overlay(filesystems: Path) -> bool:
    return any(line.split()[-1] == "overlay" for line in filesystems.read_text().splitlines())
