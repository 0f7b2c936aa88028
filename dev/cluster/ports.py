"""TCP ports and sockets: which are free, and who answers."""

import itertools
import socket
from pathlib import Path
from random import SystemRandom

_LOOPBACK = "127.0.0.1"
_LOWEST = 20000


def free_ports(count: int) -> list[int]:
    """Loopback TCP ports that nobody uses now, all different.

    They lie below the range from which the kernel takes the ports of outgoing connections: a server may be stopped and
    find its port free again later. They are drawn by lot, so that processes beside each other rarely draw the same.
    """
    lowest_outgoing = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    candidates = range(_LOWEST, lowest_outgoing) if lowest_outgoing - _LOWEST > count else range(_LOWEST, 1 << 16)
    drawn = SystemRandom().sample(candidates, len(candidates))
    return list(itertools.islice(filter(is_free, drawn), count))


def is_free(port: int) -> bool:
    """True when a server could listen at this loopback port now."""
    with socket.socket() as probe:
        # As a server does it: a connection that ended a moment ago is in nobody's way.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_LOOPBACK, port))
        except OSError:
            return False
    return True


def listens(host: str, port: int) -> bool:
    """True when somebody accepts connections at this address now."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0


def accepts(file: Path) -> bool:
    """True when somebody accepts connections at this Unix socket now."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(file)) == 0
