"""TCP ports and sockets: which are free, and who answers."""

import socket
from pathlib import Path

_LOOPBACK = "127.0.0.1"


def free_ports(count: int) -> list[int]:
    """Loopback TCP ports that nobody listens on now, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind((_LOOPBACK, 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def listens(host: str, port: int) -> bool:
    """True when somebody accepts connections at this address now."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0


def accepts(file: Path) -> bool:
    """True when somebody accepts connections at this Unix socket now."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(file)) == 0
