"""How a program outside the cluster reaches a Service: straight, where its address is routed, else by port-forward."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from dev.errors import DevError
from dev.kit.kubectl import Kubectl

GRPC_PORT, REST_PORT = 8500, 8501


@dataclass(frozen=True)
class Route:
    """Where gRPC (`HOST:PORT`) and HTTP (`http://HOST:PORT`) answer, and how they are reached, in words."""

    grpc: str
    http: str
    words: str


@contextmanager
def service(kubectl: Kubectl, name: str) -> Iterator[Route]:
    """Yield a route to a model's Service; a port-forward lives as long as the body runs.

    Raises:
        DevError: there is no such Service, or nothing answers.
    """
    found = kubectl.get("service", name)
    if found is None:
        raise DevError(f"there is no Service {name} in {kubectl.namespace}")
    address = str(found["spec"]["clusterIP"])
    if answers(address, REST_PORT):
        yield Route(f"{address}:{GRPC_PORT}", f"http://{address}:{REST_PORT}", f"Service address {address}")
        return
    with kubectl.port_forward(f"service/{name}", (GRPC_PORT, REST_PORT)) as ports:
        yield Route(f"127.0.0.1:{ports[GRPC_PORT]}", f"http://127.0.0.1:{ports[REST_PORT]}", "kubectl port-forward")


def answers(host: str, port: int, seconds: float = 2) -> bool:
    """Tell whether something accepts connections there."""
    try:
        with socket.create_connection((host, port), timeout=seconds):
            return True
    except OSError:
        return False
