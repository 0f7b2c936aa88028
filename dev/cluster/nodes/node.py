"""One node of a local cluster: its namespaces, its files, and the daemons that every node has.

The first node has the control plane beside them (`dev.cluster.nodes.controlplane_node`); a further one is this and nothing else. Each has
a folder of its own: the first the cluster's state folder, the others `nodes/NUMBER` in it.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from dev.cluster import kubeconfig, pki
from dev.cluster.kubeconfig import Access
from dev.cluster.nodes import cgroups, checks, node_config
from dev.cluster.nodes.links import FurtherNamespaces
from dev.cluster.nodes.namespaces import KUBELET_ROOT, MARK, Namespaces
from dev.cluster.nodes.network import Network
from dev.cluster.nodes.node_config import Places
from dev.cluster.nodes.packages import cni_folder
from dev.cluster.paths import state_dir
from dev.cluster.pki import Pair
from dev.cluster.private_files import write_private
from dev.cluster.processes import Daemon
from dev.errors import DevError
from dev.repository import ROOT
from dev.shell import SYSTEM_PATH

EVERYWHERE = ("containerd", "kube-proxy", "kubelet")
"""The daemons of every node."""

_NODES = "nodes"


@dataclass(frozen=True)
class Part:
    """A daemon and the fingerprint of what it was given."""

    daemon: Daemon
    fingerprint: str


def folder(name: str, number: int) -> Path:
    """Where node `number` of the cluster called `name` keeps its things."""
    state = state_dir(name)
    return state if number == 1 else state / _NODES / str(number)


def further(name: str) -> list[int]:
    """Numbers of the further nodes that have a folder, whatever the record says."""
    return sorted(int(path.name) for path in (state_dir(name) / _NODES).glob("*") if path.name.isdigit())


def namespaces_of(name: str, network: Network) -> Namespaces:
    """The namespaces of one node."""
    if network.number == 1:
        return Namespaces(folder(name, 1), network)
    return FurtherNamespaces(folder(name, network.number), network, Namespaces(folder(name, 1), network.first))


class Node:
    """See the module's text. `programs` are the paths of the built programs by name."""

    def __init__(self, name: str, network: Network, programs: dict[str, Path]) -> None:
        self.name, self.network, self.programs = name, network, programs
        self.places = Places(folder(name, network.number))
        self.namespaces = namespaces_of(name, network)
        self.node = f"{name}-node" if network.number == 1 else f"{name}-node-{network.number}"

    def write_node(self, authority: Pair) -> None:
        """Writes the node's certificates, kubeconfigs and configuration files."""
        if self.network.number > 1:
            self.places.pki.mkdir(parents=True, exist_ok=True)
            (self.places.pki / "ca.crt").write_bytes(authority.cert.read_bytes())
        users = {
            "kube-proxy": ("system:kube-proxy", []),
            "kubelet": (f"system:node:{self.node}", ["system:nodes"]),
        }
        for component, (user, groups) in users.items():
            self.client(authority, component, user, groups)
        address = f"IP:{self.network.node}"
        pki.issue(authority, self.places.pki, "kubelet", user=f"system:node:{self.node}", alt_names=[address])
        self._node_settings()

    def client(self, authority: Pair, component: str, user: str, groups: list[str]) -> None:
        """Writes the kubeconfig of one component, with a certificate of its own."""
        pair = pki.issue(authority, self.places.pki, f"client-{component}", user=user, groups=groups)
        access = Access(self.network.url, authority.cert, pair)
        kubeconfig.write(self.config(component), access, context=self.name, user=user)

    def runtime(self) -> Part:
        """Containerd."""
        config = self.places.etc / "containerd.toml"
        cni = self.places.etc / "cni" / "10-slipway.conflist"
        return self.part("containerd", ["containerd", "--config", str(config)], config, cni)

    def agents(self) -> list[Part]:
        """Kubelet and kube-proxy."""
        kubelet, proxy = self.places.etc / "kubelet.json", self.places.etc / "kube-proxy.json"
        argv = [
            str(self.programs["kubelet"]),
            f"--config={kubelet}",
            f"--kubeconfig={self.config('kubelet')}",
            f"--hostname-override={self.node}",
            f"--node-ip={self.network.node}",
            f"--root-dir={KUBELET_ROOT}",
            f"--cert-dir={self.places.pki}",
        ]
        return [
            self.part("kubelet", argv, kubelet),
            self.part("kube-proxy", [str(self.programs["kube-proxy"]), f"--config={proxy}"], proxy),
        ]

    def parts(self) -> list[Part]:
        """Every daemon of this node, in the order in which they are started."""
        return [self.runtime(), *self.agents()]

    def part(self, name: str, argv: list[str], *files: Path) -> Part:
        """A daemon inside the node's namespaces; `files` are those whose change starts it again."""
        env = {"PATH": SYSTEM_PATH, "HOME": "/root", MARK: str(state_dir(self.name))}
        env["PYTHONPATH"] = str(ROOT)
        digest = hashlib.sha256("\0".join(argv).encode())
        for file in files:
            digest.update(file.read_bytes() if file.exists() else b"")
        words = self.namespaces.inside(argv)
        daemon = Daemon(name, words, self.places.logs / f"{name}.log", self.places.run / f"{name}.pid", env)
        return Part(daemon, digest.hexdigest())

    def config(self, component: str) -> Path:
        """Path of a component's kubeconfig."""
        return self.places.etc / f"{component}.kubeconfig"

    def _node_settings(self) -> None:
        places, network = self.places, self.network
        plugins = cni_folder()
        if plugins is None:
            raise DevError("the CNI plugins are not installed")
        lower = checks.may_lower_oom_score(Path("/proc/self/status").read_text())
        files = {
            "containerd.toml": node_config.containerd_config(places, plugins, may_lower_oom_score=lower),
            "cni/10-slipway.conflist": node_config.cni_config(places, network),
            "kubelet.json": node_config.kubelet_config(places, network, cgroups.group(self.name, network.number)),
            "kube-proxy.json": node_config.kube_proxy_config(self.config("kube-proxy"), network, self.node),
            "resolv.conf": f"nameserver {network.dns}\n",
        }
        for file, text in files.items():
            write_private(places.etc / file, text)
        # A kubelet without this file takes its node for a new one, and sets every extended resource to zero: fake GPUs
        # would be gone whenever it is started again. An empty one it reports in its log, and replaces.
        checkpoint = places.state / "kubelet" / "device-plugins" / "kubelet_internal_checkpoint"
        if not checkpoint.exists():
            write_private(checkpoint, "{}")
