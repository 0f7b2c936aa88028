"""Measures what the drain's formula is made of: `python -m e2e.lib.load_terms --cluster NAME --rounds 5`.

Two models, each asked through one of its Services over many held channels. In each round a pod of each is deleted, and
it is measured until when its address is in the EndpointSlice, in kube-proxy's rules and in the DNS, and
when the pod answered its last call. Needs root and a local cluster: the rules are looked at inside the node.
"""

import argparse
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from cluster.local import Local
from demo import manifests, platform
from demo.client import http
from demo.errors import DemoError
from demo.kubectl import Kubectl
from demo.reach import REST_PORT
from e2e.lib import archives, load_run, load_watch, wait
from e2e.lib.resources import RESOURCES, deployment, pods

NAMESPACE = "slipway-terms"
MODELS = {"ClusterIP": "by-address", "headless": "by-name"}
POLL_SECONDS = 0.05
GONE_SECONDS = 200
RATE, CHANNELS = 30, 64
_A, _IN = 1, 1


def addresses(server: str, name: str) -> set[str]:
    """Return the A records of a name, asked of one DNS server over UDP."""
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    question = struct.pack(">HHHHHH", 1, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", _A, _IN)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(2)
        client.sendto(question, (server, 53))
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


def last_true(holds: Callable[[], bool], started: float) -> float:
    """Poll until something has not been true for a second; return when it last was, in seconds after `started`."""
    last = time.monotonic()
    while time.monotonic() - last < 1:
        if holds():
            last = time.monotonic()
        time.sleep(POLL_SECONDS)
    return last - started


def last_call(address: str, started: float) -> float:
    """Watch a pod's own counter until the pod is gone; return when it last rose, in seconds after `started`."""
    count, last = -1, started
    while time.monotonic() - started < GONE_SECONDS:
        try:
            page = http(f"http://{address}:{REST_PORT}/monitoring/prometheus/metrics", seconds=2)
        except DemoError:
            break
        now = load_watch.total(page)
        if now > count >= 0:
            last = time.monotonic()
        count = now
        time.sleep(POLL_SECONDS)
    return last - started


class Terms:
    """The measurement of one round for one model."""

    def __init__(self, kubectl: Kubectl, cluster: Local, model: str) -> None:
        self._kubectl, self._cluster, self._model = kubectl, cluster, model
        self._dns = str((kubectl.within("kube-system").get("service", "kube-dns") or {})["spec"]["clusterIP"])

    def measure(self) -> dict[str, float]:
        """Delete a pod; return the seconds after which it was in each place for the last time."""
        pod = pods(self._kubectl, self._model)[0]
        address = pod["status"]["podIP"]
        started = time.monotonic()  # so that kubectl's own time counts in: what is found is an upper bound
        self._kubectl.run("delete", "pod", pod["metadata"]["name"], "--wait=false")
        looks: dict[str, Callable[[], float]] = {
            "EndpointSlice": lambda: last_true(lambda: address in self._ready(), started),
            "kube-proxy": lambda: last_true(lambda: address in self._targets(), started),
            "DNS": lambda: last_true(lambda: address in addresses(self._dns, self._name()), started),
            "last call": lambda: last_call(address, started),
        }
        found: dict[str, float] = {}

        def run(key: str) -> None:
            found[key] = looks[key]()

        threads = [threading.Thread(target=run, args=(key,)) for key in looks]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found

    def _name(self) -> str:
        return f"{self._model}-headless.{self._kubectl.namespace}.svc.cluster.local"

    def _ready(self) -> set[str]:
        slices = self._kubectl.items("endpointslices", f"kubernetes.io/service-name={self._model}")
        endpoints = [endpoint for item in slices for endpoint in item.get("endpoints") or []]
        return {endpoint["addresses"][0] for endpoint in endpoints if endpoint["conditions"]["ready"]}

    def _targets(self) -> set[str]:
        """Where the Service's chain leads; kube-proxy keeps the rules of an endpoint itself longer than that."""
        rules = subprocess.run(
            self._cluster.inside(["iptables-save", "-t", "nat"]), capture_output=True, text=True, check=True
        ).stdout
        mark = f'"{self._kubectl.namespace}/{self._model}:grpc -> '
        lines = [line for line in rules.splitlines() if line.startswith("-A KUBE-SVC-") and mark in line]
        return {line.partition(mark)[2].partition(":")[0] for line in lines}


def main() -> int:
    """Measure and print a table: median and maximum of the rounds, in seconds."""
    options = argparse.ArgumentParser(description="Measures the terms of the drain's formula.")
    options.add_argument("--cluster", default="slipway")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--models", type=Path, required=True, help="folder of the archives: build/e2e/models/files")
    given = options.parse_args()
    client = platform.kubectl(given.cluster)
    archives.start(client, given.models)
    client.apply(manifests.namespace(NAMESPACE))
    kubectl, cluster = client.within(NAMESPACE), Local(given.cluster, print)
    for model in MODELS.values():
        kubectl.apply(deployment(model, archives.url("half_plus_two.tar.gz"), replicas=3, resources=RESOURCES))
    for model in MODELS.values():
        wait.ready(kubectl, model, 240)
    wanted = {
        kind: load_run.plans(kubectl, model, model, rate=RATE, channels=CHANNELS, fresh=RATE / 10)[kind]
        for kind, model in MODELS.items()
    }
    results: dict[str, list[dict[str, float]]] = {kind: [] for kind in MODELS}
    with load_run.against(wanted) as loads:
        for number in range(given.rounds):
            loads.more(RATE * 30)  # every connection has its age
            threads = []
            for kind, model in MODELS.items():
                terms = Terms(kubectl, cluster, model)
                threads.append(threading.Thread(target=lambda k=kind, t=terms: results[k].append(t.measure())))
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            for kind, rounds in results.items():
                print(f"round {number + 1} {kind}: {rounds[-1]}", file=sys.stderr, flush=True)
    for kind, rounds in results.items():
        for key in rounds[0]:
            ordered = sorted(one[key] for one in rounds)
            print(f"{kind:<10} {key:<14} median {ordered[len(ordered) // 2]:6.2f} s  most {ordered[-1]:6.2f} s")
    print(load_run.judge(loads.reports(), 1))
    kubectl.run("delete", "namespace", NAMESPACE, "--wait=false")
    return 0


if __name__ == "__main__":
    sys.exit(main())
