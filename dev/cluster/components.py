"""Command lines and configuration files of the control plane's programs. Pure: values in, words out.

Both users of them are in this package: `dev.cluster.controlplane` (loopback, for tests) and `dev.cluster.providers.local` (a whole
node in its own namespaces).
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dev.cluster.pki import Pair

SERVICE_ACCOUNT_ISSUER = "https://kubernetes.default.svc.cluster.local"


@dataclass(frozen=True)
class Qps:
    """Client-side rate limits of a controller, requests a second.

    The programs' own default of 20 would be what a benchmark measures; a cluster for people keeps it low.
    """

    qps: int = 50
    burst: int = 100


UNLIMITED = Qps(2000, 4000)


@dataclass(frozen=True)
class ApiServer:
    """What kube-apiserver needs. `front_proxy` and `kubelet_client` only where there is an aggregated API or a node."""

    etcd_url: str
    bind_address: str
    advertise_address: str
    port: int
    service_cidr: str
    authority: Path
    serving: Pair
    signing: Pair
    authorization_modes: tuple[str, ...] = ("RBAC",)
    disabled_admission: tuple[str, ...] = ()
    publish_endpoint: bool = True
    front_proxy: tuple[Path, Pair] | None = None
    kubelet_client: Pair | None = None
    audit: tuple[Path, Path] | None = None
    extra: tuple[str, ...] = field(default=())


def etcd(binary: Path, data: Path, client_url: str, peer_url: str) -> list[str]:
    """One member that answers to itself. Nothing here must survive a power cut, so it never waits for the disk."""
    return [
        str(binary),
        "--name=slipway",
        f"--data-dir={data}",
        f"--listen-client-urls={client_url}",
        f"--advertise-client-urls={client_url}",
        f"--listen-peer-urls={peer_url}",
        f"--initial-advertise-peer-urls={peer_url}",
        f"--initial-cluster=slipway={peer_url}",
        "--unsafe-no-fsync",
        "--auto-compaction-retention=10m",
        "--log-level=warn",
    ]


def apiserver(binary: Path, settings: ApiServer) -> list[str]:
    """kube-apiserver with its usual admission plugins."""
    words = [
        str(binary),
        f"--etcd-servers={settings.etcd_url}",
        f"--bind-address={settings.bind_address}",
        f"--advertise-address={settings.advertise_address}",
        f"--secure-port={settings.port}",
        f"--service-cluster-ip-range={settings.service_cidr}",
        f"--client-ca-file={settings.authority}",
        f"--tls-cert-file={settings.serving.cert}",
        f"--tls-private-key-file={settings.serving.key}",
        f"--service-account-issuer={SERVICE_ACCOUNT_ISSUER}",
        f"--service-account-key-file={settings.signing.cert}",
        f"--service-account-signing-key-file={settings.signing.key}",
        f"--authorization-mode={','.join(settings.authorization_modes)}",
        f"--endpoint-reconciler-type={'lease' if settings.publish_endpoint else 'none'}",
        "--allow-privileged=true",
    ]
    if settings.disabled_admission:
        words.append(f"--disable-admission-plugins={','.join(settings.disabled_admission)}")
    if settings.front_proxy is not None:
        words += _aggregation(*settings.front_proxy)
    if settings.kubelet_client is not None:
        words += [
            f"--kubelet-certificate-authority={settings.authority}",
            f"--kubelet-client-certificate={settings.kubelet_client.cert}",
            f"--kubelet-client-key={settings.kubelet_client.key}",
            # Otherwise exec, logs and port-forward look the node's name up in a DNS that does not know it.
            "--kubelet-preferred-address-types=InternalIP",
        ]
    if settings.audit is not None:
        policy, log = settings.audit
        words += [f"--audit-policy-file={policy}", f"--audit-log-path={log}", "--audit-log-maxsize=8192"]
    return [*words, *settings.extra]


def _aggregation(authority: Path, client: Pair) -> list[str]:
    return [
        f"--requestheader-client-ca-file={authority}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        f"--proxy-client-cert-file={client.cert}",
        f"--proxy-client-key-file={client.key}",
    ]


def controller_manager(
    binary: Path, kubeconfig: Path, authority: Pair, signing: Pair, port: int, limits: Qps, *extra: str
) -> list[str]:
    """kube-controller-manager; each of its controllers acts under its own service account, as in any real cluster."""
    return [
        str(binary),
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        f"--service-account-private-key-file={signing.key}",
        f"--root-ca-file={authority.cert}",
        f"--cluster-signing-cert-file={authority.cert}",
        f"--cluster-signing-key-file={authority.key}",
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--kube-api-qps={limits.qps}",
        f"--kube-api-burst={limits.burst}",
        *extra,
    ]


def scheduler(binary: Path, config: Path, kubeconfig: Path, port: int) -> list[str]:
    """kube-scheduler; everything else is in its configuration file."""
    return [
        str(binary),
        f"--config={config}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
    ]


def scheduler_config(kubeconfig: Path, limits: Qps) -> str:
    """KubeSchedulerConfiguration, as JSON."""
    return _json(
        {
            "apiVersion": "kubescheduler.config.k8s.io/v1",
            "kind": "KubeSchedulerConfiguration",
            "leaderElection": {"leaderElect": False},
            "clientConnection": {"kubeconfig": str(kubeconfig), "qps": limits.qps, "burst": limits.burst},
        }
    )


def audit_policy() -> str:
    """One line per request when it is done: who, what, which verb and how it ended, without bodies."""
    return _json(
        {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived"],
            "rules": [{"level": "Metadata"}],
        }
    )


def kwok(binary: Path, kubeconfig: Path, stages: Path, port: int) -> list[str]:
    """kwok, which plays the kubelet of every node in the cluster; `stages` says what happens to nodes and pods."""
    return [
        str(binary),
        f"--kubeconfig={kubeconfig}",
        f"--config={stages}",
        "--manage-all-nodes=true",
        "--cidr=10.128.0.0/9",
        f"--server-address=127.0.0.1:{port}",
        # Renewed after a quarter of it: well within the 50 s after which a silent node counts as lost.
        "--node-lease-duration-seconds=100",
    ]


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2) + "\n"
