"""The control groups that hold the pods of a local cluster: one folder `slipway-NAME` in each hierarchy.

Everything in them belongs to the cluster, so that `down` can end what a killed kubelet left running.
"""

import contextlib
import os
import signal
import time
from pathlib import Path

from dev.errors import DevError

ROOT = Path("/sys/fs/cgroup")
_V2 = ("cpu", "cpuset", "memory", "pids")
_SHARES = 1024
_V1 = ("cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids")


def is_v2(root: Path = ROOT) -> bool:
    """True when the host has the unified hierarchy only."""
    return (root / "cgroup.controllers").exists()


def missing_controllers(root: Path = ROOT) -> list[str]:
    """Controllers that the kubelet and runc need and the host does not offer."""
    if is_v2(root):
        offered = set((root / "cgroup.controllers").read_text().split())
        return [name for name in _V2 if name not in offered]
    return [name for name in _V1 if not (root / name / "cgroup.procs").exists()]


def group(name: str, node: int = 1) -> str:
    """Path of the cluster's group below each hierarchy, as the kubelet wants it; a further node's lies in the first's."""
    return f"/slipway-{name}" if node == 1 else f"/slipway-{name}/node-{node}"


def ensure(name: str, root: Path = ROOT, *, node: int = 1) -> None:
    """Makes the group of a cluster's node in every hierarchy."""
    if node > 1:
        ensure(name, root)
    for folder in _folders(group(name, node), root):
        if is_v2(root):
            for controller in _V2:
                _delegate(folder.parent / "cgroup.subtree_control", controller)
        folder.mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):  # v1 leaves them empty, and an empty set can run nothing
            if (folder.parent / setting).exists() and not (folder / setting).read_text().strip():
                (folder / setting).write_text((folder.parent / setting).read_text())
        if (folder / "cpu.shares").exists():
            # As the kubelet weighs all its pods; else they would weigh, on a busy host, as much as one process outside.
            (folder / "cpu.shares").write_text(str(_SHARES * (os.cpu_count() or 1)))


def _delegate(control: Path, controller: str) -> None:
    try:
        control.write_text(f"+{controller}")
    except OSError as error:
        raise DevError(
            f"the control group controller {controller} cannot be used below {control.parent}: {error.strerror}",
            "Inside a container, run it with `--privileged --cgroupns=private` and an init that moves processes out of "
            "the topmost group.",
        ) from error


def processes(name: str, root: Path = ROOT, *, node: int = 1) -> set[int]:
    """Every process in the groups of a cluster's node; those of the first node hold the others'."""
    found: set[int] = set()
    for folder in _folders(group(name, node), root):
        for file in folder.rglob("cgroup.procs"):
            with contextlib.suppress(OSError):
                found.update(map(int, file.read_text().split()))
    return found


def remove(name: str, seconds: float = 10, root: Path = ROOT, *, node: int = 1) -> None:
    """Kills what is in the node's groups and removes them. Raises DevError when something will not go."""
    deadline, path = time.monotonic() + seconds, group(name, node)
    while any(folder.exists() for folder in _folders(path, root)):
        for pid in processes(name, root, node=node):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for folder in _folders(path, root):
            for child in sorted(folder.rglob("*/"), key=lambda path: len(path.parts), reverse=True):
                _rmdir(child)
            _rmdir(folder)
        if time.monotonic() > deadline:
            left = sorted(processes(name, root, node=node))
            raise DevError(f"processes {left} in the group {path} do not end")
        time.sleep(0.05)


def _folders(path: str, root: Path) -> list[Path]:
    if is_v2(root):
        return [root / path.strip("/")]
    # `unified` is among them on a hybrid host: it counts nothing there, but runc puts processes into it as well.
    hierarchies = [folder for folder in sorted(root.iterdir()) if not folder.is_symlink()]
    return [folder / path.strip("/") for folder in hierarchies if (folder / "cgroup.procs").exists()]


def _rmdir(folder: Path) -> None:
    with contextlib.suppress(OSError):
        if folder.is_dir():
            folder.rmdir()
