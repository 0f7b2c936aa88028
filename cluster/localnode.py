"""The files and daemons of one local cluster: certificates, kubeconfigs, configuration, command lines.

`cluster.local` starts what this describes. Everything is written again at each `up`; a daemon whose command line or
files have changed since it was started is told apart by its fingerprint.
"""

import base64
import hashlib
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

from cluster import addons, cgroups, checks, components, kubeconfig, node, pki
from cluster.api import Api
from cluster.components import Qps
from cluster.errors import ClusterError
from cluster.files import write_private
from cluster.kubeconfig import Access
from cluster.namespaces import KUBELET_ROOT, MARK, Namespaces
from cluster.network import API_PORT, Network
from cluster.node import Places
from cluster.packages import cni_folder
from cluster.paths import kubeconfig_path, state_dir
from cluster.pki import Pair
from cluster.processes import Daemon
from cluster.shell import SYSTEM_PATH

PROGRAMS = ["kube-apiserver", "etcd", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"]
PROGRAMS += ["coredns", "metrics-server", "pause"]
_ETCD, _ETCD_PEER = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
_LIMITS = Qps(200, 400)


@dataclass(frozen=True)
class Part:
    """A daemon and the fingerprint of what it was given."""

    daemon: Daemon
    fingerprint: str


class LocalNode:
    """See the module's text. `programs` are the paths of the built programs by name."""

    def __init__(self, name: str, network: Network, programs: dict[str, Path]) -> None:
        self.name, self.network, self.programs = name, network, programs
        self.places = Places(state_dir(name))
        self.namespaces = Namespaces(self.places.state, network)
        self.node = f"{name}-node"

    def write(self) -> None:
        """Writes certificates, kubeconfigs and configuration files."""
        self._certificates()
        authority = self._pair("ca")
        users = {
            "kube-controller-manager": ("system:kube-controller-manager", []),
            "kube-scheduler": ("system:kube-scheduler", []),
            "kube-proxy": ("system:kube-proxy", []),
            "kubelet": (f"system:node:{self.node}", ["system:nodes"]),
            "coredns": ("coredns", []),
            "metrics-server": ("metrics-server", []),
        }  # fmt: skip
        for component, (user, groups) in users.items():
            pair = pki.issue(authority, self.places.pki, f"client-{component}", user=user, groups=groups)
            access = Access(self.network.url, authority.cert, pair)
            kubeconfig.write(self._config(component), access, context=self.name, user=user)
        pki.issue(authority, self.places.pki, "client-provisioner", user="slipway-provisioner")
        kubeconfig.write(kubeconfig_path(self.name), self.admin(), context=self.name, user=f"{self.name}-admin")
        self._settings()

    def admin(self) -> Access:
        """The cluster administrator."""
        return Access(self.network.url, self._pair("ca").cert, self._pair("admin"))

    def api(self) -> Api:
        """A client with all rights."""
        return Api(self.admin())

    def authority_base64(self) -> str:
        """The CA certificate as an APIService wants it."""
        return base64.b64encode(self._pair("ca").cert.read_bytes()).decode()

    def architecture(self) -> str:
        """Machine type as images name it."""
        return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())

    def control_plane(self) -> list[Part]:
        """Etcd and kube-apiserver."""
        data = self.places.state / "etcd"
        front = (self._pair("front-proxy-ca").cert, self._pair("front-proxy-client"))
        settings = components.ApiServer(
            etcd_url=_ETCD,
            bind_address=str(self.network.node),
            advertise_address=str(self.network.node),
            port=API_PORT,
            service_cidr=str(self.network.services),
            authority=self._pair("ca").cert,
            serving=self._pair("apiserver"),
            signing=self._signing(),
            authorization_modes=("Node", "RBAC"),
            front_proxy=front,
            kubelet_client=self._pair("kubelet-client"),
            extra=("--enable-admission-plugins=NodeRestriction",),
        )
        return [
            self._part("etcd", components.etcd(self.programs["etcd"], data, _ETCD, _ETCD_PEER)),
            self._part("kube-apiserver", components.apiserver(self.programs["kube-apiserver"], settings)),
        ]

    def controllers(self) -> list[Part]:
        """kube-controller-manager and kube-scheduler."""
        manager, scheduler = "kube-controller-manager", "kube-scheduler"
        # People watch this cluster: an autoscaler that looks every 15 s seems not to work.
        flags = ("--horizontal-pod-autoscaler-sync-period=5s",)
        argv = components.controller_manager(
            self.programs[manager], self._config(manager), self._pair("ca"), self._signing(), 10257, _LIMITS, *flags
        )
        settings = self.places.etc / "scheduler.json"
        command = components.scheduler(self.programs[scheduler], settings, self._config(scheduler), 10259)
        return [self._part(manager, argv), self._part(scheduler, command, settings)]

    def runtime(self) -> Part:
        """Containerd."""
        config = self.places.etc / "containerd.toml"
        cni = self.places.etc / "cni" / "10-slipway.conflist"
        return self._part("containerd", ["containerd", "--config", str(config)], config, cni)

    def node_agents(self) -> list[Part]:
        """Kubelet and kube-proxy."""
        kubelet, proxy = self.places.etc / "kubelet.json", self.places.etc / "kube-proxy.json"
        argv = [
            str(self.programs["kubelet"]),
            f"--config={kubelet}",
            f"--kubeconfig={self._config('kubelet')}",
            f"--hostname-override={self.node}",
            f"--node-ip={self.network.node}",
            f"--root-dir={KUBELET_ROOT}",
            f"--cert-dir={self.places.pki}",
        ]
        return [
            self._part("kubelet", argv, kubelet),
            self._part("kube-proxy", [str(self.programs["kube-proxy"]), f"--config={proxy}"], proxy),
        ]

    def services(self) -> list[Part]:
        """CoreDNS, metrics-server and the volume provisioner."""
        corefile, pair = self.places.etc / "Corefile", self._pair("client-provisioner")
        provisioner = [sys.executable, "-m", "cluster.provisioner", f"--server={self.network.url}"]
        provisioner += [f"--authority={self._pair('ca').cert}", f"--certificate={pair.cert}", f"--key={pair.key}"]
        source = Path(__file__).with_name("provisioner.py")
        return [
            self._part("coredns", [str(self.programs["coredns"]), "-conf", str(corefile)], corefile),
            self._part("metrics-server", self._metrics_server()),
            self._part("provisioner", [*provisioner, f"--folder={self.places.volumes}"], source),
        ]

    def parts(self) -> list[Part]:
        """Every daemon, in the order in which they are started."""
        return [*self.control_plane(), self.runtime(), *self.controllers(), *self.node_agents(), *self.services()]

    def _metrics_server(self) -> list[str]:
        config, serving = self._config("metrics-server"), self._pair("metrics-server")
        return [
            str(self.programs["metrics-server"]),
            f"--kubeconfig={config}",
            f"--authentication-kubeconfig={config}",
            f"--authorization-kubeconfig={config}",
            f"--bind-address={self.network.node}",
            f"--secure-port={addons.METRICS_PORT}",
            f"--tls-cert-file={serving.cert}",
            f"--tls-private-key-file={serving.key}",
            f"--kubelet-certificate-authority={self._pair('ca').cert}",
            "--kubelet-preferred-address-types=InternalIP",
            "--metric-resolution=10s",
            "--kubelet-request-timeout=9s",
        ]

    def _certificates(self) -> None:
        folder = self.places.pki
        authority, front = pki.create_authority(folder), pki.create_authority(folder, "front-proxy-ca")
        pki.create_signing_key(folder)
        address = f"IP:{self.network.node}"
        service = f"kubernetes.default.svc.{node.CLUSTER_DOMAIN}"
        names = ["DNS:kubernetes", "DNS:kubernetes.default", "DNS:kubernetes.default.svc", f"DNS:{service}"]
        api_names = [*names, address, f"IP:{self.network.services[1]}"]
        pki.issue(authority, folder, "apiserver", user="kube-apiserver", alt_names=api_names)
        pki.issue(authority, folder, "kubelet", user=f"system:node:{self.node}", alt_names=[address])
        masters = ["system:masters"]
        pki.issue(authority, folder, "kubelet-client", user="kube-apiserver-kubelet-client", groups=masters)
        pki.issue(authority, folder, "admin", user="kubernetes-admin", groups=masters)
        metrics_names = ["DNS:metrics-server.kube-system.svc", address]
        pki.issue(authority, folder, "metrics-server", user="metrics-server", alt_names=metrics_names)
        pki.issue(front, folder, "front-proxy-client", user="front-proxy-client")

    def _settings(self) -> None:
        places, network = self.places, self.network
        plugins = cni_folder()
        if plugins is None:
            raise ClusterError("the CNI plugins are not installed")
        lower = checks.may_lower_oom_score(Path("/proc/self/status").read_text())
        files = {
            "containerd.toml": node.containerd_config(places, plugins, may_lower_oom_score=lower),
            "cni/10-slipway.conflist": node.cni_config(places, network),
            "kubelet.json": node.kubelet_config(places, network, cgroups.group(self.name)),
            "kube-proxy.json": node.kube_proxy_config(self._config("kube-proxy"), network, self.node),
            "scheduler.json": components.scheduler_config(self._config("kube-scheduler"), _LIMITS),
            "Corefile": node.corefile(self._config("coredns"), network),
            "root.zone": node.ROOT_ZONE,
            "resolv.conf": f"nameserver {network.dns}\n",
        }
        for file, text in files.items():
            write_private(places.etc / file, text)
        places.volumes.mkdir(exist_ok=True)
        # A kubelet without this file takes its node for a new one, and sets every extended resource to zero: fake GPUs
        # would be gone whenever it is started again. An empty one it reports in its log, and replaces.
        checkpoint = places.state / "kubelet" / "device-plugins" / "kubelet_internal_checkpoint"
        if not checkpoint.exists():
            write_private(checkpoint, "{}")

    def _part(self, name: str, argv: list[str], *files: Path) -> Part:
        env = {"PATH": SYSTEM_PATH, "HOME": "/root", MARK: str(self.places.state)}
        env["PYTHONPATH"] = str(Path(__file__).parent.parent)
        digest = hashlib.sha256("\0".join(argv).encode())
        for file in files:
            digest.update(file.read_bytes() if file.exists() else b"")
        words = self.namespaces.inside(argv)
        daemon = Daemon(name, words, self.places.logs / f"{name}.log", self.places.run / f"{name}.pid", env)
        return Part(daemon, digest.hexdigest())

    def _config(self, component: str) -> Path:
        return self.places.etc / f"{component}.kubeconfig"

    def _pair(self, name: str) -> Pair:
        return Pair(self.places.pki / f"{name}.crt", self.places.pki / f"{name}.key")

    def _signing(self) -> Pair:
        return Pair(self.places.pki / "service-account.pub", self.places.pki / "service-account.key")
