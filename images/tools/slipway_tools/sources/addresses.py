"""Which network addresses a download may talk to: a URL in a resource must not reach what only the node may reach.

Refused: this pod and node (loopback, unspecified), link-local addresses and the fixed addresses of cloud metadata
services, which hand out the node's credentials. Private networks are allowed: models live there.
"""

import ipaddress
import socket
from collections.abc import Callable, Sequence

from slipway_tools.errors import ModelError, Reason

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolver = Callable[[str, int], Sequence[str]]

# Metadata and node agents that are not link-local: AWS and EKS Pod Identity (IPv6), Google (IPv6), Alibaba, Azure, Oracle.
_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in ("fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192")
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def system_resolver(host: str, port: int) -> list[str]:
    """Resolve a name with the system's resolver; the order is the system's preference.

    Raises:
        OSError: when the name does not resolve.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def permitted(host: str, port: int, resolve: Resolver, allowed: Sequence[Network]) -> list[str]:
    """Resolve `host` and return the addresses that may be connected to, as they will be connected to.

    Raises:
        ModelError: SourceForbidden, when none of its addresses is permitted.
        OSError: when the name does not resolve.
    """
    addresses = resolve(host, port)
    good = [text for text in addresses if is_permitted(text, allowed)]
    if not good:
        refused = ", ".join(addresses[:3])
        raise ModelError(
            Reason.SOURCE_FORBIDDEN,
            f"spec.model.uri: {host} is {refused}, an address of the node or of a metadata service, "
            "which no model is fetched from; use another source",
        )
    return good


def is_permitted(text: str, allowed: Sequence[Network]) -> bool:
    """Tell whether an address may be connected to; `allowed` networks win over every refusal."""
    address = _embedded(ipaddress.ip_address(text.partition("%")[0]))
    if any(address in network for network in allowed if network.version == address.version):
        return True
    return not (
        address.is_loopback
        or address.is_link_local
        or address.is_unspecified
        or address.is_multicast
        or (address.is_reserved and address.version == 4)  # noqa: PLR2004 - the IP version
        or address in _METADATA
    )


def _embedded(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 one stands for, so that no notation gets round the rules."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address.sixtofour is not None:
            return address.sixtofour
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if int(address) >> 32 == 0 and int(address) > 1:
            return ipaddress.IPv4Address(int(address))  # ::a.b.c.d, the deprecated compatible form
    return address
