"""Ports for servers that a test starts: free, and nobody else's until that server has them.

A server binds its port seconds after it was chosen for it, on a busy machine half a minute. Meanwhile a process of
pytest-xdist beside this one must not choose the same, nor the kernel for an outgoing connection. So each of these processes
draws from a part of its own, below the ports of outgoing connections and those that `dev.cluster.ports` draws, and none twice.
"""

import itertools
import os
import random
from collections.abc import Iterator

from dev.cluster.ports import is_free

_PORTS = range(10300, 19900)
_PARTS = 16


def _mine() -> Iterator[int]:
    part = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _PARTS
    ports = list(_PORTS[part::_PARTS])
    random.shuffle(ports)
    return itertools.cycle(ports)


_ports = _mine()


def free_ports(count: int) -> list[int]:
    """Return loopback TCP ports that nobody uses, all different, and that this process has not given away lately."""
    return list(itertools.islice(filter(is_free, _ports), count))


def free_port() -> int:
    """Return one such port."""
    return free_ports(1)[0]
