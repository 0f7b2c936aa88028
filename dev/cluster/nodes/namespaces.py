"""The network and mount namespaces that a node of a local cluster lives in, and the first node's link to the host.

Both namespaces are kept by files in the state folder, so they outlive the command and any daemon. In the network
namespace are kube-proxy's rules, the pods' links and every port; in the mount namespace are the pods' volumes and root
file systems, and private versions of the few places whose paths are fixed in kubelet and containerd: /run,
/var/lib/kubelet, /var/log/containers and the kernel settings that the kubelet would change for the whole host. Taking the two away
therefore takes away all of it.
"""

import contextlib
import os
import shlex
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dev.cluster.nodes.network import Network
from dev.errors import DevError
from dev.shell import run

MARK = "SLIPWAY_CLUSTER"
KUBELET_ROOT = Path("/var/lib/kubelet")
_ALIAS = "slipway:"
# The kubelet sets these to the values given here; a file in their place takes the write and spares the host.
_KERNEL_SETTINGS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


@dataclass(frozen=True)
class Namespaces:
    """The two namespaces of the node whose folder is `state`; the first node's is the cluster's state folder."""

    state: Path
    network: Network

    @property
    def folder(self) -> Path:
        """Holds the files `net` and `mnt` that keep the namespaces."""
        return self.state / "ns"

    def inside(self, argv: Sequence[str | Path]) -> list[str]:
        """The command line that runs `argv` inside. nsenter becomes the command, so the pid is its own."""
        return ["nsenter", f"--net={self.folder / 'net'}", f"--mount={self.folder / 'mnt'}", "--", *map(str, argv)]

    def exist(self) -> bool:
        """True when both namespaces are there, and as this version makes them (after a reboot only plain files are)."""
        made_with = self.folder / "script"
        as_now = made_with.exists() and made_with.read_text() == inside_script(self.state)
        return as_now and {str(self.folder / "net"), str(self.folder / "mnt")} <= set(mount_points())

    def create(self) -> None:
        """Makes both namespaces and the link; repairs the link when only that is missing."""
        if not self.exist():
            self.remove()
            self.folder.mkdir(parents=True, exist_ok=True)
            # A namespace can only be kept by a mount that is not copied into it.
            run(["mount", "--bind", self.folder, self.folder])
            run(["mount", "--make-private", self.folder])
            for kind in ("net", "mnt"):
                (self.folder / kind).touch()
            unshare = ["unshare", f"--net={self.folder / 'net'}", f"--mount={self.folder / 'mnt'}"]
            script = inside_script(self.state)
            run([*unshare, "--propagation=slave", "sh", "-euc", script])
            (self.folder / "script").write_text(script)
        if not self._connected():
            self._connect()

    def remove(self) -> None:
        """Takes the link and both namespaces away; what is mounted inside goes with them."""
        if self._connected():
            self._disconnect()
        self._release()

    def _connected(self) -> bool:
        return linked_cluster(self.network.device) == self.state.name

    def _disconnect(self) -> None:
        run(["ip", "link", "delete", self.network.device])

    def _release(self) -> None:
        own = (str(self.folder), str(self.folder / "net"), str(self.folder / "mnt"))
        for point in reversed([point for point in mount_points() if point in own]):
            run(["umount", point])

    def _connect(self) -> None:
        net, device = self.network, self.network.device
        netns = str(self.folder / "net")
        inside = ["nsenter", f"--net={netns}", "ip"]
        run(["ip", "link", "add", "name", device, "type", "veth", "peer", "name", "eth0", "netns", netns])
        run(["ip", "link", "set", device, "alias", f"{_ALIAS}{self.state.name}"])
        run(["ip", "address", "add", f"{net.host}/30", "dev", device])
        run(["ip", "link", "set", device, "up"])
        run([*inside, "link", "set", "lo", "up"])
        run([*inside, "address", "add", f"{net.node}/30", "dev", "eth0"])
        run([*inside, "link", "set", "eth0", "up"])
        for wanted in (net.services, net.pods):
            run(["ip", "route", "replace", str(wanted), "via", str(net.node), "dev", device])
        # A packet to a ClusterIP needs some route before kube-proxy's rules give it its real destination.
        run([*inside, "route", "replace", str(net.services), "via", str(net.host), "dev", "eth0"])


def inside_script(state: Path) -> str:
    """What is done once inside the new namespaces, as a shell script."""
    runtime, settings, kubelet = (
        shlex.quote(str(state / part)) for part in ("run/containerd", "run/settings", "kubelet")
    )
    lines = [
        # Shared again, inside only: pods may request mount propagation.
        "mount --make-rshared /",
        f"rm -rf {runtime} {settings}",
        f"mkdir -p {runtime} {settings} {kubelet} {KUBELET_ROOT}",
        f"mount --bind {kubelet} {KUBELET_ROOT}",
        "mount -t tmpfs -o mode=755 slipway-run /run",
        "mkdir /run/containerd /run/lock /run/netns",
        f"mount --bind {runtime} /run/containerd",
        "mount -t tmpfs -o mode=755 slipway-log /var/log",
        "mkdir /var/log/containers /var/log/pods",
        "echo 1 > /proc/sys/net/ipv4/ip_forward",
    ]
    for setting, value in _KERNEL_SETTINGS.items():
        file, target = f"{settings}/{setting.replace('/', '.')}", f"/proc/sys/{setting}"
        lines += [f"echo {value} > {file}", f"if [ -e {target} ]; then mount --bind {file} {target}; fi"]
    return "\n".join(lines)


def linked_cluster(device: str) -> str | None:
    """Name of the cluster that the host's network device `device` leads to; None when there is no such device."""
    try:
        return (Path("/sys/class/net") / device / "ifalias").read_text().strip().removeprefix(_ALIAS)
    except FileNotFoundError:
        return None


def mount_points() -> list[str]:
    """Mount points of this process's namespace, in the order they were mounted."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line.split()[4].encode().decode("unicode_escape") for line in lines]


def host_routes() -> list[str]:
    """Lines of the host's IPv4 routing tables."""
    return run(["ip", "-4", "route", "show", "table", "all", "type", "unicast"]).splitlines()


def foreign_routes(own: Sequence[str] = ()) -> list[str]:
    """The host's routes without those over the devices `own`."""
    return [line for line in host_routes() if not any(f" dev {device} " in f"{line} " for device in own)]


def marked_processes(state: Path) -> set[int]:
    """Every process that was started for the cluster with this state folder: it carries the mark in its environment."""
    mark = f"{MARK}={state}".encode()
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    found.add(int(folder.name))
    return found


def kill_marked(state: Path, seconds: float = 10) -> int:
    """Kills every marked process and waits for its end; returns how many there were."""
    deadline, seen = time.monotonic() + seconds, set[int]()
    while pids := marked_processes(state):
        seen |= pids
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise DevError(f"processes {sorted(pids)} do not end, not even when killed")
        time.sleep(0.05)
    return len(seen)
