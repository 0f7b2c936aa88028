"""A DNS server on loopback that gives old answers, as a node-local cache does with the TTL that kubeadm sets.

The local cluster's own DNS is not cached and its TTL is short, so that clients of the headless Service would hear of a
change sooner than in most clusters.
"""

import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dev.cluster import binaries
from dev.cluster.ports import free_ports
from dev.kit.kubectl import Kubectl
from slipway.render import termination

_START_SECONDS = 60
_A, _IN = 1, 1
_ALWAYS_THERE = "kubernetes.default.svc.cluster.local"


def cluster_dns(kubectl: Kubectl) -> str:
    """Return the address of the cluster's own DNS."""
    return str((kubectl.within("kube-system").get("service", "kube-dns") or {})["spec"]["clusterIP"])


@contextmanager
def cached(server: str, seconds: int = termination.DNS_SECONDS) -> Iterator[str]:
    """Yield `HOST:PORT` of a DNS server that forwards to the one at `server` and caches every answer for so many seconds."""
    [port] = free_ports(1)
    corefile = f""".:{port} {{
    bind 127.0.0.1
    cache {seconds} {{
        success 9984 {seconds} {seconds}
        denial 9984 1
    }}
    forward . {server}
}}
"""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "Corefile"
        config.write_text(corefile)
        with subprocess.Popen([binaries.ensure("coredns"), "-conf", config], stdout=subprocess.DEVNULL) as process:
            try:
                _await(process, port)
                yield f"127.0.0.1:{port}"
            finally:
                process.terminate()


def _await(process: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            if addresses("127.0.0.1", _ALWAYS_THERE, port):
                return
        except OSError:
            pass
        assert process.poll() is None, f"CoreDNS ended with status {process.returncode}"
        assert time.monotonic() < deadline, f"no answer within {_START_SECONDS} s"
        time.sleep(0.1)


def addresses(server: str, name: str, port: int = 53) -> set[str]:
    """Return the A records of a name from one DNS server, over UDP."""
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    question = struct.pack(">HHHHHH", 1, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", _A, _IN)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(2)
        client.sendto(question, (server, port))
        answer = client.recv(4096)
    count = struct.unpack(">H", answer[6:8])[0]
    found, at = set(), len(question)
    for _ in range(count):
        at += 2 if answer[at] & 0xC0 else answer.index(b"\0", at) - at + 1
        kind, _, _, size = struct.unpack(">HHIH", answer[at : at + 10])
        if kind == _A:
            found.add(socket.inet_ntoa(answer[at + 10 : at + 10 + size]))
        at += 10 + size
    return found
