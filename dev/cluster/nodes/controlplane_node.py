"""The first node of a local cluster: beside what every node has, the control plane and what serves the whole cluster.

`dev.cluster.providers.local` starts what this describes. Everything is written again at each `up`; a daemon whose command line or
files have changed since it was started is told apart by its fingerprint.
"""

import base64
import platform
import sys
from pathlib import Path

from dev.cluster import components, kubeconfig, pki
from dev.cluster.api_client import Api
from dev.cluster.components import Qps
from dev.cluster.kubeconfig import Access
from dev.cluster.nodes import addons, node_config
from dev.cluster.nodes.network import API_PORT
from dev.cluster.nodes.node import Node, Part
from dev.cluster.paths import kubeconfig_path
from dev.cluster.pki import Pair
from dev.cluster.private_files import write_private

PROGRAMS = ["kube-apiserver", "etcd", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"]
PROGRAMS += ["coredns", "pause"]
METRICS = "metrics-server"
"""The one program that a cluster may be without."""
_ETCD, _ETCD_PEER = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
_LIMITS = Qps(200, 400)


class ControlPlaneNode(Node):
    """See the module's text. `network` is the share of the cluster's first node."""

    def write(self) -> None:
        """Writes certificates, kubeconfigs and configuration files."""
        self._certificates()
        authority = self._pair("ca")
        self.write_node(authority)
        for component in ("kube-controller-manager", "kube-scheduler"):
            self.client(authority, component, f"system:{component}", [])
        for component in ("coredns", METRICS):
            self.client(authority, component, component, [])
        pki.issue(authority, self.places.pki, "client-provisioner", user="slipway-provisioner")
        kubeconfig.write(kubeconfig_path(self.name), self.admin(), context=self.name, user=f"{self.name}-admin")
        self._settings()

    def admin(self) -> Access:
        """The cluster administrator."""
        return Access(self.network.url, self._pair("ca").cert, self._pair("admin"))

    def api(self) -> Api:
        """A client with all rights."""
        return Api(self.admin())

    def authority(self) -> Pair:
        """The cluster's certificate authority."""
        return self._pair("ca")

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
            self.part("etcd", components.etcd(self.programs["etcd"], data, _ETCD, _ETCD_PEER)),
            self.part("kube-apiserver", components.apiserver(self.programs["kube-apiserver"], settings)),
        ]

    def controllers(self) -> list[Part]:
        """kube-controller-manager and kube-scheduler."""
        manager, scheduler = "kube-controller-manager", "kube-scheduler"
        # People watch this cluster: an autoscaler that looks every 15 s seems not to work.
        flags = ("--horizontal-pod-autoscaler-sync-period=5s",)
        argv = components.controller_manager(
            self.programs[manager], self.config(manager), self._pair("ca"), self._signing(), 10257, _LIMITS, *flags
        )
        settings = self.places.etc / "scheduler.json"
        command = components.scheduler(self.programs[scheduler], settings, self.config(scheduler), 10259)
        return [self.part(manager, argv), self.part(scheduler, command, settings)]

    def services(self) -> list[Part]:
        """CoreDNS, metrics-server if it is there, and the volume provisioner."""
        corefile, pair = self.places.etc / "Corefile", self._pair("client-provisioner")
        provisioner = [sys.executable, "-m", "dev.cluster.nodes.provisioner", f"--server={self.network.url}"]
        provisioner += [f"--authority={self._pair('ca').cert}", f"--certificate={pair.cert}", f"--key={pair.key}"]
        source = Path(__file__).with_name("provisioner.py")
        return [
            self.part("coredns", [str(self.programs["coredns"]), "-conf", str(corefile)], corefile),
            *([self.part(METRICS, self._metrics_server())] if METRICS in self.programs else []),
            self.part("provisioner", [*provisioner, f"--folder={self.places.volumes}"], source),
        ]

    def parts(self) -> list[Part]:
        """Every daemon, in the order in which they are started."""
        return [*self.control_plane(), self.runtime(), *self.controllers(), *self.agents(), *self.services()]

    def _metrics_server(self) -> list[str]:
        config, serving = self.config(METRICS), self._pair(METRICS)
        return [
            str(self.programs[METRICS]),
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
        service = f"kubernetes.default.svc.{node_config.CLUSTER_DOMAIN}"
        names = ["DNS:kubernetes", "DNS:kubernetes.default", "DNS:kubernetes.default.svc", f"DNS:{service}"]
        api_names = [*names, address, f"IP:{self.network.services[1]}"]
        pki.issue(authority, folder, "apiserver", user="kube-apiserver", alt_names=api_names)
        masters = ["system:masters"]
        pki.issue(authority, folder, "kubelet-client", user="kube-apiserver-kubelet-client", groups=masters)
        pki.issue(authority, folder, "admin", user="kubernetes-admin", groups=masters)
        metrics_names = ["DNS:metrics-server.kube-system.svc", address]
        pki.issue(authority, folder, METRICS, user=METRICS, alt_names=metrics_names)
        pki.issue(front, folder, "front-proxy-client", user="front-proxy-client")

    def _settings(self) -> None:
        places, network = self.places, self.network
        files = {
            "scheduler.json": components.scheduler_config(self.config("kube-scheduler"), _LIMITS),
            "Corefile": node_config.corefile(self.config("coredns"), network),
            "root.zone": node_config.ROOT_ZONE,
        }
        for file, text in files.items():
            write_private(places.etc / file, text)
        places.volumes.mkdir(exist_ok=True)

    def _pair(self, name: str) -> Pair:
        return Pair(self.places.pki / f"{name}.crt", self.places.pki / f"{name}.key")

    def _signing(self) -> Pair:
        return Pair(self.places.pki / "service-account.pub", self.places.pki / "service-account.key")
