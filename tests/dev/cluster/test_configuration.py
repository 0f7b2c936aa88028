"""Command lines and configuration files: what had to be right for a node to start is in them."""

import json
import tomllib
from pathlib import Path

import pytest

from dev.cluster import components
from dev.cluster.components import ApiServer, Qps
from dev.cluster.nodes import addons, node_config
from dev.cluster.nodes.network import Network
from dev.cluster.nodes.node_config import Places
from dev.cluster.pki import Pair

STATE = Path("/state/one")
PLACES, NETWORK = Places(STATE), Network(0)
PAIR = Pair(Path("/pki/a.crt"), Path("/pki/a.key"))


def api_server(**changes: object) -> ApiServer:
    settings: dict[str, object] = {
        "etcd_url": "http://127.0.0.1:2379",
        "bind_address": "127.0.0.1",
        "advertise_address": "198.51.100.1",
        "port": 6443,
        "service_cidr": "10.96.0.0/20",
        "authority": Path("/pki/ca.crt"),
        "serving": PAIR,
        "signing": PAIR,
    }
    return ApiServer(**(settings | changes))  # type: ignore[arg-type]


def test_etcd_does_not_wait_for_the_disk() -> None:
    argv = components.etcd(Path("etcd"), Path("/data"), "http://127.0.0.1:1", "http://127.0.0.1:2")
    assert "--unsafe-no-fsync" in argv
    assert "--listen-client-urls=http://127.0.0.1:1" in argv


def test_an_api_server_on_loopback_publishes_no_endpoint() -> None:
    argv = components.apiserver(Path("kube-apiserver"), api_server(publish_endpoint=False))
    assert "--endpoint-reconciler-type=none" in argv
    assert not any(word.startswith(("--audit", "--kubelet", "--requestheader")) for word in argv)


def test_an_api_server_with_a_node_reaches_it_by_address() -> None:
    argv = components.apiserver(Path("kube-apiserver"), api_server(kubelet_client=PAIR))
    assert "--kubelet-preferred-address-types=InternalIP" in argv
    assert "--kubelet-certificate-authority=/pki/ca.crt" in argv


def test_extra_flags_come_last() -> None:
    assert components.apiserver(Path("x"), api_server(extra=("--v=4",)))[-1] == "--v=4"


def test_the_audit_log_has_one_line_a_request() -> None:
    argv = components.apiserver(Path("x"), api_server(audit=(Path("/policy"), Path("/log"))))
    assert {"--audit-policy-file=/policy", "--audit-log-path=/log"} <= set(argv)
    policy = json.loads(components.audit_policy())
    assert policy["omitStages"] == ["RequestReceived"]
    assert policy["rules"] == [{"level": "Metadata"}]


def test_rate_limits_reach_the_controllers() -> None:
    argv = components.controller_manager(Path("x"), Path("/k"), PAIR, PAIR, 1, Qps(2000, 4000), "--v=1")
    assert {"--kube-api-qps=2000", "--kube-api-burst=4000", "--use-service-account-credentials=true"} <= set(argv)
    assert argv[-1] == "--v=1"
    client = json.loads(components.scheduler_config(Path("/k"), Qps(2000, 4000)))["clientConnection"]
    assert (client["qps"], client["burst"]) == (2000, 4000)


@pytest.mark.parametrize(("capable", "restricted"), [(True, False), (False, True)])
def test_containerd_keeps_to_itself(*, capable: bool, restricted: bool) -> None:
    text = node_config.containerd_config(PLACES, Path("/usr/lib/cni"), may_lower_oom_score=capable)
    config = tomllib.loads(text)
    cri = config["plugins"]["io.containerd.grpc.v1.cri"]
    assert config["root"].startswith(str(STATE))
    assert cri["cni"] == {"bin_dir": "/usr/lib/cni", "conf_dir": "/state/one/etc/cni"}
    assert cri["restrict_oom_score_adj"] is restricted
    assert cri["sandbox_image"] == node_config.PAUSE_IMAGE


def test_the_kubelet_runs_on_either_kind_of_control_groups() -> None:
    config = json.loads(node_config.kubelet_config(PLACES, NETWORK, "/slipway-one"))
    assert config["failCgroupV1"] is False
    assert config["cgroupDriver"] == "cgroupfs"
    assert config["cgroupRoot"] == "/slipway-one"
    assert config["localStorageCapacityIsolation"] is False
    assert set(config["evictionHard"].values()) == {"0%"}
    assert config["clusterDNS"] == [str(NETWORK.dns)]


def test_kube_proxy_leaves_the_hosts_connection_tracking_alone() -> None:
    config = json.loads(node_config.kube_proxy_config(Path("/k"), NETWORK, "one-node"))
    assert config["conntrack"]["maxPerCore"] == 0
    assert config["clusterCIDR"] == str(NETWORK.pods)


def test_pods_get_routed_links_in_the_clusters_own_range() -> None:
    config = json.loads(node_config.cni_config(PLACES, NETWORK))
    assert [plugin["type"] for plugin in config["plugins"]] == ["ptp", "portmap"]
    assert config["plugins"][0]["ipam"]["ranges"] == [[{"subnet": "10.244.0.0/24"}]]


def test_dns_answers_for_the_cluster_and_the_host_and_ends_there() -> None:
    text = node_config.corefile(Path("/etc/one/coredns.kubeconfig"), NETWORK)
    assert "10.99.0.1 host.slipway.internal" in text
    assert "file /etc/one/root.zone ." in text
    assert "forward" not in text


def test_add_ons_are_applied_where_they_are_named() -> None:
    for path, item in addons.objects(NETWORK, "Y2E="):
        assert path.endswith(f"/{item['metadata']['name']}")
        namespace = item["metadata"].get("namespace")
        assert (f"/namespaces/{namespace}/" in path) if namespace else ("/namespaces/" not in path)


def test_cluster_dns_has_the_address_that_kubelets_hand_out() -> None:
    items = {(item["kind"], item["metadata"]["name"]): item for _, item in addons.objects(NETWORK, "Y2E=")}
    assert items["Service", "kube-dns"]["spec"]["clusterIP"] == str(NETWORK.dns)
    backend = items["EndpointSlice", "kube-dns"]
    assert backend["endpoints"][0]["addresses"] == [str(NETWORK.node)]
    assert {port["protocol"] for port in backend["ports"]} == {"TCP", "UDP"}


def test_the_storage_class_is_the_default_and_called_as_in_kind() -> None:
    classes = [item for _, item in addons.storage() if item["kind"] == "StorageClass"]
    assert [c["metadata"]["name"] for c in classes] == ["standard"]
    assert classes[0]["metadata"]["annotations"] == {"storageclass.kubernetes.io/is-default-class": "true"}
