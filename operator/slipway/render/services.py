"""The two Services: one address for every client, and the pods' own addresses for client-side load balancing."""

from typing import Any

from slipway.domain import names
from slipway.domain.names import Owner
from slipway.domain.objects import Manifest


def services(owner: Owner) -> tuple[Manifest, Manifest]:
    """Return the ClusterIP Service and the headless one. Names and ports never change."""
    name = owner.key.name
    return (
        _service(owner, names.service(name), {"type": "ClusterIP"}),
        # Its DNS record leaves out pods that are not Ready or are terminating.
        _service(owner, names.headless_service(name), {"clusterIP": "None", "publishNotReadyAddresses": False}),
    )


def _service(owner: Owner, name: str, extra: dict[str, Any]) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": owner.metadata(name),
        "spec": {
            **extra,
            "selector": names.selector(owner.key.name),
            "ports": [
                _port("grpc", names.GRPC_PORT, "kubernetes.io/h2c"),
                _port("http", names.REST_PORT, "http"),
            ],
        },
    }


def _port(name: str, number: int, protocol: str) -> dict[str, Any]:
    return {"name": name, "port": number, "targetPort": name, "protocol": "TCP", "appProtocol": protocol}
