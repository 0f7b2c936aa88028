"""Configuration of the node's programs: containerd, CNI, kubelet, kube-proxy and CoreDNS. Pure: values in, text out."""

import json
from dataclasses import dataclass
from pathlib import Path

from dev.cluster.nodes.network import Network

PAUSE_IMAGE = "docker.io/slipway/pause:1"
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"  # inside the mount namespace
HOST_NAME = "host.slipway.internal"
CLUSTER_DOMAIN = "cluster.local"
ROOT_ZONE = """. 5 IN SOA dns.slipway.internal. none.slipway.internal. 1 3600 600 86400 5
. 5 IN NS dns.slipway.internal.
"""
_EVICTION_SIGNALS = (
    "memory.available",
    "nodefs.available",
    "nodefs.inodesFree",
    "imagefs.available",
    "imagefs.inodesFree",
)


@dataclass(frozen=True)
class Places:
    """Where a local cluster keeps what, below its state folder."""

    state: Path

    @property
    def etc(self) -> Path:
        """Configuration files."""
        return self.state / "etc"

    @property
    def pki(self) -> Path:
        """Certificates and keys."""
        return self.state / "pki"

    @property
    def logs(self) -> Path:
        """Logs of the daemons, and of the pods in `pods`."""
        return self.state / "logs"

    @property
    def run(self) -> Path:
        """Pid files."""
        return self.state / "run"

    @property
    def volumes(self) -> Path:
        """What the default StorageClass hands out."""
        return self.state / "volumes"

    @property
    def socket(self) -> Path:
        """Containerd's socket as the host sees it."""
        return self.state / "run" / "containerd" / "containerd.sock"


def containerd_config(places: Places, cni_folder: Path, *, may_lower_oom_score: bool) -> str:
    """Containerd's TOML. Without CAP_SYS_RESOURCE nothing may be protected from the OOM killer, and trying fails."""
    return f"""version = 2
root = "{places.state}/containerd"
state = "/run/containerd"
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs"]

[grpc]
  address = "{CONTAINERD_SOCKET}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = {str(not may_lower_oom_score).lower()}

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{cni_folder}"
  conf_dir = "{places.etc}/cni"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = false
"""


def cni_config(places: Places, network: Network) -> str:
    """A routed link for each pod. Unlike a bridge it needs no br_netfilter for a pod to reach itself by a Service."""
    addresses = {
        "type": "host-local",
        "ranges": [[{"subnet": str(network.pods)}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": f"{places.state}/cni",
    }
    plugins = [
        {"type": "ptp", "mtu": 1500, "ipam": addresses},
        {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True},
    ]
    return _json({"cniVersion": "0.4.0", "name": "slipway", "plugins": plugins})


def kubelet_config(places: Places, network: Network, cgroup_root: str) -> str:
    """KubeletConfiguration for a machine that is also used for other things: it evicts late and collects no images."""
    return _json(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": str(network.node),
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": f"{places.pki}/ca.crt"},
            },
            "authorization": {"mode": "Webhook"},
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": cgroup_root,
            "clusterDNS": [str(network.dns)],
            "clusterDomain": CLUSTER_DOMAIN,
            "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
            # 0% turns a signal off: the machine is used for other things, and its disk is not ours to judge.
            "evictionHard": dict.fromkeys(_EVICTION_SIGNALS, "0%"),
            "failCgroupV1": False,
            "failSwapOn": False,
            "healthzBindAddress": "127.0.0.1",
            "imageGCHighThresholdPercent": 100,
            "localStorageCapacityIsolation": False,
            "oomScoreAdj": 0,
            "podLogsDir": f"{places.logs}/pods",
            "resolvConf": f"{places.etc}/resolv.conf",
            "rotateCertificates": False,
            "tlsCertFile": f"{places.pki}/kubelet.crt",
            "tlsPrivateKeyFile": f"{places.pki}/kubelet.key",
            "volumePluginDir": f"{places.state}/kubelet/volume-plugins",
        }
    )


def kube_proxy_config(kubeconfig: Path, network: Network, node: str) -> str:
    """KubeProxyConfiguration. Connection tracking limits are the whole host's, so they are left as they are."""
    return _json(
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "clientConnection": {"kubeconfig": str(kubeconfig)},
            "clusterCIDR": str(network.pods),
            "conntrack": {"maxPerCore": 0, "tcpCloseWaitTimeout": "0s", "tcpEstablishedTimeout": "0s"},
            "healthzBindAddress": "127.0.0.1:10256",
            "hostnameOverride": node,
            "metricsBindAddress": "127.0.0.1:10249",
            "mode": "iptables",
        }
    )


def corefile(kubeconfig: Path, network: Network) -> str:
    """CoreDNS for the cluster's own names and the host's.

    There is no way out, so any other name does not exist: that is what an empty root zone (ROOT_ZONE) says, at once,
    where a missing forwarder would make every look-up wait and try again.
    """
    return f""".:53 {{
    bind {network.node}
    errors
    ready 127.0.0.1:8181
    kubernetes {CLUSTER_DOMAIN} in-addr.arpa ip6.arpa {{
        kubeconfig {kubeconfig}
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 5
    }}
    hosts {{
        {network.host} {HOST_NAME}
        fallthrough
    }}
    file {kubeconfig.parent}/root.zone . {{
        reload 0
    }}
}}
"""


def _json(document: dict[str, object]) -> str:
    return json.dumps(document, indent=2) + "\n"
