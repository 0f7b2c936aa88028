"""API objects that a local cluster starts with: cluster DNS, resource metrics, storage. Pure: (path, object) pairs.

CoreDNS, metrics-server and the volume provisioner run beside the kubelet, not in pods, so no image is needed for them;
a Service without selector and an EndpointSlice that names the node make them look like the usual ones.
"""

from typing import Any

from dev.cluster.nodes.network import Network

METRICS_PORT = 4443
STORAGE_CLASS = "standard"
PROVISIONER = "slipway.dev/host-path"
_CORE, _RBAC = "/api/v1", "/apis/rbac.authorization.k8s.io/v1"
_SYSTEM = f"{_CORE}/namespaces/kube-system"

Item = tuple[str, dict[str, Any]]


def objects(network: Network, authority_base64: str | None) -> list[Item]:
    """Everything, in the order in which it is applied; resource metrics only with the CA certificate.

    An aggregated API that nobody serves would keep namespaces from being deleted.
    """
    resource_metrics = [] if authority_base64 is None else metrics(network, authority_base64)
    return [*dns(network), *resource_metrics, *storage()]


def dns(network: Network) -> list[Item]:
    """The Service `kube-dns`, and what CoreDNS may read."""
    ports = [_port("dns", 53, 53, "UDP"), _port("dns-tcp", 53, 53, "TCP")]
    rules = [
        _rule("", ["endpoints", "services", "pods", "namespaces"], "list", "watch"),
        _rule("discovery.k8s.io", ["endpointslices"], "list", "watch"),
    ]
    return [
        *_service("kube-dns", ports, network, cluster_ip=str(network.dns)),
        *_grant("system:coredns", "coredns", rules),
    ]


def metrics(network: Network, authority_base64: str) -> list[Item]:
    """The aggregated API metrics.k8s.io, and what metrics-server may read."""
    rules = [
        _rule("", ["nodes/metrics"], "get"),
        _rule("", ["pods", "nodes"], "get", "list", "watch"),
    ]
    version = "v1beta1.metrics.k8s.io"
    service = {"name": "metrics-server", "namespace": "kube-system", "port": 443}
    api = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": version},
        "spec": {
            "group": "metrics.k8s.io",
            "version": "v1beta1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "caBundle": authority_base64,
            "service": service,
        },
    }
    reader = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "metrics-server-auth-reader", "namespace": "kube-system"},
        "roleRef": _reference("Role", "extension-apiserver-authentication-reader"),
        "subjects": [_user("metrics-server")],
    }
    return [
        *_service("metrics-server", [_port("https", 443, METRICS_PORT, "TCP")], network),
        *_grant("system:metrics-server", "metrics-server", rules),
        _binding("metrics-server:system:auth-delegator", "system:auth-delegator", "metrics-server"),
        (f"{_RBAC}/namespaces/kube-system/rolebindings/metrics-server-auth-reader", reader),
        (f"/apis/apiregistration.k8s.io/v1/apiservices/{version}", api),
    ]


def storage() -> list[Item]:
    """The default StorageClass, named as in kind, and what its provisioner may do."""
    storage_class = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": STORAGE_CLASS,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    rules = [
        _rule("", ["persistentvolumeclaims"], "get", "list", "watch"),
        _rule("", ["persistentvolumes"], "get", "list", "watch", "create", "delete"),
    ]
    return [
        (f"/apis/storage.k8s.io/v1/storageclasses/{STORAGE_CLASS}", storage_class),
        *_grant("system:slipway-provisioner", "slipway-provisioner", rules),
    ]


def _service(name: str, ports: list[dict[str, Any]], network: Network, cluster_ip: str = "") -> list[Item]:
    spec: dict[str, Any] = {"ports": ports} | ({"clusterIP": cluster_ip} if cluster_ip else {})
    labels = {"kubernetes.io/cluster-service": "true", "k8s-app": name}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "kube-system", "labels": labels},
        "spec": spec,
    }
    backend = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": "kube-system",
            "labels": {"kubernetes.io/service-name": name, "endpointslice.kubernetes.io/managed-by": "slipway-cluster"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [str(network.node)], "conditions": {"ready": True}}],
        "ports": [{"name": p["name"], "port": p["targetPort"], "protocol": p["protocol"]} for p in ports],
    }
    slices = "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices"
    return [(f"{_SYSTEM}/services/{name}", service), (f"{slices}/{name}", backend)]


def _grant(role: str, user: str, rules: list[dict[str, Any]]) -> list[Item]:
    cluster_role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": role},
        "rules": rules,
    }
    return [(f"{_RBAC}/clusterroles/{role}", cluster_role), _binding(role, role, user)]


def _binding(name: str, role: str, user: str) -> Item:
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": _reference("ClusterRole", role),
        "subjects": [_user(user)],
    }
    return f"{_RBAC}/clusterrolebindings/{name}", binding


def _port(name: str, port: int, target: int, protocol: str) -> dict[str, Any]:
    return {"name": name, "port": port, "targetPort": target, "protocol": protocol}


def _rule(group: str, resources: list[str], *verbs: str) -> dict[str, Any]:
    return {"apiGroups": [group], "resources": resources, "verbs": list(verbs)}


def _reference(kind: str, name: str) -> dict[str, str]:
    return {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}


def _user(name: str) -> dict[str, str]:
    return {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}
