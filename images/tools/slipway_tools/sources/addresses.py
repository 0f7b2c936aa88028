"""Which network addresses a download may talk to: a URL in a resource must not reach what only the node may reach.

Refused: this pod and node (loopback, unspecified), link-local addresses and the fixed addresses of cloud metadata
services, which hand out the node's credentials. Private networks are allowed: models live there.

An IPv6 address that a translator or tunnel turns into an IPv4 one is judged by that one: IPv4-mapped, -compatible and
-translated, NAT64 (RFC 6052, RFC 8215), 6to4 and Teredo. A NAT64 prefix of the provider's own looks like any other network.
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
# The last 32 bits are an IPv4 address: IPv4-mapped, -translated, -compatible (but for :: and ::1), NAT64.
_ENDING = tuple(map(ipaddress.IPv6Network, ("::ffff:0:0/96", "::ffff:0:0:0/96", "::/96", "64:ff9b::/96")))
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")


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
    """Return whether an address may be connected to; `allowed` networks win over every refusal."""
    address = ipaddress.ip_address(text.partition("%")[0])
    return _is_in(address, allowed) or all(_is_in(meant, allowed) or _is_harmless(meant) for meant in _meant(address))


def _is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks if network.version == address.version)


def _is_harmless(address: Address) -> bool:
    return not (
        address.is_loopback
        or address.is_link_local
        or address.is_unspecified
        or address.is_multicast
        or (address.is_reserved and address.version == 4)  # noqa: PLR2004 - the IP version
        or address in _METADATA
    )


def _meant(address: Address) -> list[Address]:
    """Return the IPv4 addresses that an IPv6 one may stand for, so that no notation gets round the rules, or itself."""
    if isinstance(address, ipaddress.IPv6Address):
        if int(address) > 1 and any(address in network for network in _ENDING):
            return [ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)]
        if address.sixtofour is not None:
            return [address.sixtofour]
        if address.teredo is not None:
            return [*address.teredo]  # the Teredo server, and the client
        if address in _LOCAL_NAT64:
            return [*_local_nat64(address.packed)]
    return [address]


def _local_nat64(packed: bytes) -> set[ipaddress.IPv4Address]:
    """Return what the 16 bytes of an address in 64:ff9b:1::/48 stand for under each length of prefix that they allow.

    A network takes a prefix of 48, 56, 64 or 96 bits out of that one; up to 64, byte 8 and all after the IPv4 address
    are zero (RFC 6052, 2.2). Where there is nothing but zeros in the place of the IPv4 address, it is another length.
    """
    found, bare = {packed[12:]}, packed[:8] + packed[9:]
    for start in (6, 7, 8):
        if packed[8] == 0 and not any(bare[start + 4 :]):
            found.add(bare[start : start + 4])
    return {ipaddress.IPv4Address(place) for place in found if any(place) or len(found) == 1}
