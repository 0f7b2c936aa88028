"""The link of a further node: from its network namespace into that of the cluster's first node, which routes for all.

The host reaches such a node, its pods and its part of every Service over its one link to the first node. Taking the
link down is what a cut network does to a node; `create` brings it up again.
"""

from dataclasses import dataclass

from dev.cluster.nodes.namespaces import Namespaces
from dev.errors import DevError
from dev.shell import run


@dataclass(frozen=True)
class FurtherNamespaces(Namespaces):
    """The namespaces of a further node; `first` are those of the first one, which must be there before."""

    first: Namespaces

    def create(self) -> None:
        """Makes what is missing. Routes are set each time: they go when the first node's own link does."""
        super().create()
        self._first_ip("link", "set", self.network.device, "up")
        self._first_ip("route", "replace", str(self.network.pods), "via", str(self.network.node))
        for wanted in (self.network.link, self.network.pods):
            route = [str(wanted), "via", str(self.network.first.node), "dev", self.network.first.device]
            run(["ip", "route", "replace", *route])

    def cut(self) -> None:
        """Takes the link down: nothing reaches the node or leaves it."""
        self._first_ip("link", "set", self.network.device, "down")

    def _connected(self) -> bool:
        try:
            self._first_ip("link", "show", "dev", self.network.device)
        except DevError:
            return False
        return True

    def _disconnect(self) -> None:
        self._first_ip("link", "delete", self.network.device)

    def _connect(self) -> None:
        net, device = self.network, self.network.device
        netns = str(self.folder / "net")
        inside = ["nsenter", f"--net={netns}", "ip"]
        self._first_ip("link", "add", "name", device, "type", "veth", "peer", "name", "eth0", "netns", netns)
        self._first_ip("address", "add", f"{net.gateway}/30", "dev", device)
        self._first_ip("link", "set", device, "up")
        run([*inside, "link", "set", "lo", "up"])
        run([*inside, "address", "add", f"{net.node}/30", "dev", "eth0"])
        run([*inside, "link", "set", "eth0", "up"])
        run([*inside, "route", "replace", "default", "via", str(net.gateway), "dev", "eth0"])

    def _first_ip(self, *words: str) -> str:
        return run(["nsenter", f"--net={self.first.folder / 'net'}", "ip", *words])
