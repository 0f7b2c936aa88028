"""Measures the terms of the termination formula: `python -m dev.bench.termination_terms --cluster NAME --rounds 5`.

Two models get requests, each through one of its Services over many held channels. In each round a pod of each is deleted, and
it is measured until when its address is in the EndpointSlice, in kube-proxy's rules and in the DNS, and
when the pod answered its last call. Needs root and a local cluster: the rules are looked at inside the node.
"""

import argparse
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from dev.cluster.providers.local import Local
from dev.errors import DevError
from dev.kit import archive_server, installation, manifests, wait
from dev.kit.kubectl import Kubectl
from dev.kit.load import control, dns_cache, observe
from dev.kit.model_deployments import RESOURCES, deployment, pods
from dev.kit.prediction import http
from dev.kit.reach import REST_PORT
from dev.repository import ROOT

NAMESPACE = "slipway-terms"
MODELS = {"ClusterIP": "by-address", "headless": "by-name"}
POLL_SECONDS = 0.1
GONE_SECONDS = 200
SILENT_SECONDS = 10
RATE, CHANNELS = 30, 64


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
    count, last, heard = -1, started, started
    while time.monotonic() - started < GONE_SECONDS:
        try:
            page = http(f"http://{address}:{REST_PORT}/monitoring/prometheus/metrics", seconds=2)
        except DevError:
            if time.monotonic() - heard > SILENT_SECONDS:
                break
            continue
        now, heard = observe.total(page), time.monotonic()
        if now > count >= 0:
            last = heard
        count = now
        time.sleep(POLL_SECONDS)
    return last - started


class Terms:
    """The measurement of one round for one model."""

    def __init__(self, kubectl: Kubectl, cluster: Local, model: str) -> None:
        self._kubectl, self._cluster, self._model = kubectl, cluster, model
        self._dns = dns_cache.cluster_dns(kubectl)

    def measure(self) -> dict[str, float]:
        """Delete a pod; return the seconds after which it was in each place for the last time."""
        pod = pods(self._kubectl, self._model)[0]
        address = pod["status"]["podIP"]
        started = time.monotonic()  # so that kubectl's own time counts in: what is found is an upper bound
        self._kubectl.run("delete", "pod", pod["metadata"]["name"], "--wait=false")
        looks: dict[str, Callable[[], float]] = {
            "EndpointSlice": lambda: last_true(lambda: address in self._ready(), started),
            "kube-proxy": lambda: last_true(lambda: address in self._targets(), started),
            "DNS": lambda: last_true(lambda: address in dns_cache.addresses(self._dns, self._name()), started),
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


def serving(cluster: str, models: Path) -> Kubectl:
    """Start both models; return the namespace that they serve in."""
    client = installation.kubectl(cluster)
    archive_server.start(client, models)
    client.apply(manifests.namespace(NAMESPACE))
    kubectl = client.within(NAMESPACE)
    for model in MODELS.values():
        kubectl.apply(deployment(model, archive_server.url("half_plus_two.tar.gz"), replicas=3, resources=RESOURCES))
    for model in MODELS.values():
        wait.ready(kubectl, model, 240)
    return kubectl


def rounds(kubectl: Kubectl, cluster: Local, dns: str, count: int) -> dict[str, list[dict[str, float]]]:
    """Measure under load, both models at a time; return the rounds by kind of Service."""
    results: dict[str, list[dict[str, float]]] = {kind: [] for kind in MODELS}
    many = {"rate": RATE, "channels": CHANNELS, "fresh": RATE / 10}
    wanted = {kind: control.plans(kubectl, model, model, dns, **many)[kind] for kind, model in MODELS.items()}
    with control.against(wanted) as loads:
        for number in range(count):
            loads.more(RATE * 30)  # every connection has its age
            threads = []
            for kind, model in MODELS.items():
                terms = Terms(kubectl, cluster, model)
                threads.append(threading.Thread(target=lambda k=kind, t=terms: results[k].append(t.measure())))
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            for kind, found in results.items():
                print(f"round {number + 1} {kind}: {found[-1]}", file=sys.stderr, flush=True)
    print(control.judge(loads.reports(), 1))
    return results


def main() -> int:
    """Measure and print a table: median and maximum of the rounds, in seconds."""
    parser = argparse.ArgumentParser(description="Measures the terms of the termination formula.")
    parser.add_argument("--cluster", default="slipway")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cached", action="store_true", help="clients use a DNS server that caches answers for 30 s")
    parser.add_argument("--models", type=Path, default=ROOT / "build" / "e2e" / "models" / "files", help="archives")
    given = parser.parse_args()
    kubectl, cluster = serving(given.cluster, given.models), Local(given.cluster, print)
    with ExitStack() as stack:
        dns = stack.enter_context(dns_cache.cached(dns_cache.cluster_dns(kubectl))) if given.cached else ""
        results = rounds(kubectl, cluster, dns, given.rounds)
    for kind, found in results.items():
        for key in found[0]:
            ordered = sorted(one[key] for one in found)
            print(f"{kind:<10} {key:<14} median {ordered[len(ordered) // 2]:6.2f} s  most {ordered[-1]:6.2f} s")
    kubectl.run("delete", "namespace", NAMESPACE, "--wait=false")
    return 0


if __name__ == "__main__":
    sys.exit(main())
