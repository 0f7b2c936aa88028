"""Addresses of one local cluster. Pure: an index in, the addresses, device and ranges out.

Every cluster gets its own share of three private ranges, so that several can run side by side on one host, and all of
them can be reached from it by plain routes. Its first node is linked to the host, every further one to the first.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from dev.errors import DevError

MAX_CLUSTERS = 16
MAX_NODES = 8
_LINKS = IPv4Network("10.99.0.0/21")
_SERVICES = IPv4Network("10.96.0.0/16")
_PODS = IPv4Network("10.244.0.0/16")
API_PORT = 6443


@dataclass(frozen=True)
class Network:
    """One node's share: `gateway` and `node` are the two ends of its link, `device` is the far end's name.

    `index` tells the clusters of a host apart, `number` the nodes of a cluster; the control plane is on node 1.
    """

    index: int
    number: int = 1

    @property
    def link(self) -> IPv4Network:
        """The four addresses of the link between the node and the host (node 1) or node 1 (the others)."""
        return list(list(_LINKS.subnets(new_prefix=24))[self.number - 1].subnets(new_prefix=30))[self.index]

    @property
    def gateway(self) -> IPv4Address:
        """The far end of the node's link."""
        return self.link[1]

    @property
    def first(self) -> "Network":
        """The share of the cluster's first node."""
        return Network(self.index)

    @property
    def host(self) -> IPv4Address:
        """The host as seen from the cluster."""
        return self.first.link[1]

    @property
    def node(self) -> IPv4Address:
        """The node as seen from everywhere; the API server listens here too on node 1."""
        return self.link[2]

    @property
    def services(self) -> IPv4Network:
        """ClusterIP range."""
        return list(_SERVICES.subnets(new_prefix=20))[self.index]

    @property
    def pods(self) -> IPv4Network:
        """Address range of the node's pods."""
        return list(_PODS.subnets(new_prefix=24))[self.index + MAX_CLUSTERS * (self.number - 1)]

    @property
    def dns(self) -> IPv4Address:
        """ClusterIP of the cluster's DNS."""
        return self.services[10]

    @property
    def device(self) -> str:
        """Name of the far end of the link: on the host for node 1, on node 1 for the others."""
        return f"slipway{self.index}" if self.number == 1 else f"node{self.number}"

    @property
    def url(self) -> str:
        """Address of the API server."""
        return f"https://{self.first.node}:{API_PORT}"

    def ranges(self) -> tuple[IPv4Network, ...]:
        """Everything that must not be somebody else's."""
        return self.link, self.services, self.pods


def choose(taken: Iterable[int], routed: Iterable[IPv4Network], nodes: int = 1) -> Network:
    """The first network whose index is not `taken` and whose ranges, for so many nodes, no route of the host overlaps.

    Raises DevError when there is none, naming the routes that are in the way.
    """
    used, routes = set(taken), list(routed)
    for index in range(MAX_CLUSTERS):
        network = Network(index)
        if index not in used and not overlaps(network, routes, nodes):
            return network
    first_free = Network(min(set(range(MAX_CLUSTERS)) - used, default=0))
    if len(used) >= MAX_CLUSTERS:
        raise DevError(
            f"{MAX_CLUSTERS} clusters exist already", "Take one down: `python -m dev.cluster down --name …`."
        )
    raise DevError(
        f"the host routes {', '.join(map(str, overlaps(first_free, routes, nodes)))}, which the cluster would need",
        f"A local cluster takes its addresses from {_LINKS}, {_SERVICES} and {_PODS}. Remove the route (often a VPN's).",
    )


def overlaps(network: Network, routes: Iterable[IPv4Network], nodes: int) -> list[IPv4Network]:
    """The routes that lead into what a cluster of so many nodes has for itself; a default route is none of them."""
    own = [part for number in range(1, nodes + 1) for part in Network(network.index, number).ranges()]
    return [route for route in routes if route.prefixlen > 0 and any(route.overlaps(part) for part in own)]


def parse_routes(text: str) -> list[IPv4Network]:
    """Destinations in the output of `ip -4 route show table all type unicast`, without the default route."""
    found = []
    for line in text.splitlines():
        word = line.split()[0] if line.split() else "default"
        if word != "default":
            found.append(ipaddress.IPv4Network(word, strict=False))
    return found
