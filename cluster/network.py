"""Addresses of one local cluster. Pure: an index in, the addresses, device and ranges out.

Every cluster gets its own share of three private ranges, so that several can run side by side on one host, and all of
them can be reached from it by plain routes.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from cluster.errors import ClusterError

MAX_CLUSTERS = 16
_LINKS = IPv4Network("10.99.0.0/26")
_SERVICES = IPv4Network("10.96.0.0/16")
_PODS = IPv4Network("10.244.0.0/16")
API_PORT = 6443


@dataclass(frozen=True)
class Network:
    """`host` and `node` are the two ends of the cluster's link; `device` is the host's end of it."""

    index: int

    @property
    def link(self) -> IPv4Network:
        """The four addresses of the link between host and node."""
        return list(_LINKS.subnets(new_prefix=30))[self.index]

    @property
    def host(self) -> IPv4Address:
        """The host as seen from the cluster."""
        return self.link[1]

    @property
    def node(self) -> IPv4Address:
        """The node as seen from everywhere; the API server listens here too."""
        return self.link[2]

    @property
    def services(self) -> IPv4Network:
        """ClusterIP range."""
        return list(_SERVICES.subnets(new_prefix=20))[self.index]

    @property
    def pods(self) -> IPv4Network:
        """Pod address range."""
        return list(_PODS.subnets(new_prefix=24))[self.index]

    @property
    def dns(self) -> IPv4Address:
        """ClusterIP of the cluster's DNS."""
        return self.services[10]

    @property
    def device(self) -> str:
        """Name of the host's end of the link."""
        return f"slipway{self.index}"

    @property
    def url(self) -> str:
        """Address of the API server."""
        return f"https://{self.node}:{API_PORT}"

    def ranges(self) -> tuple[IPv4Network, ...]:
        """Everything that must not be somebody else's."""
        return self.link, self.services, self.pods


def choose(taken: Iterable[int], routed: Iterable[IPv4Network]) -> Network:
    """The first network whose index is not `taken` and whose ranges no route of the host overlaps.

    Raises ClusterError when there is none, naming the routes that are in the way.
    """
    used, routes = set(taken), [route for route in routed if route.prefixlen > 0]
    for index in range(MAX_CLUSTERS):
        network = Network(index)
        if index not in used and not _overlaps(network, routes):
            return network
    first_free = Network(min(set(range(MAX_CLUSTERS)) - used, default=0))
    if len(used) >= MAX_CLUSTERS:
        raise ClusterError(
            f"{MAX_CLUSTERS} clusters exist already", "Take one down: `python -m cluster down --name …`."
        )
    raise ClusterError(
        f"the host routes {', '.join(map(str, _overlaps(first_free, routes)))}, which the cluster would need",
        f"A local cluster takes its addresses from {_LINKS}, {_SERVICES} and {_PODS}. Remove the route (often a VPN's).",
    )


def _overlaps(network: Network, routes: Iterable[IPv4Network]) -> list[IPv4Network]:
    return [route for route in routes if any(route.overlaps(own) for own in network.ranges())]


def parse_routes(text: str) -> list[IPv4Network]:
    """Destinations in the output of `ip -4 route show table all type unicast`, without the default route."""
    found = []
    for line in text.splitlines():
        word = line.split()[0] if line.split() else "default"
        if word != "default":
            found.append(ipaddress.IPv4Network(word, strict=False))
    return found
