"""GPUs that only the scheduler believes in: an extended resource, and the labels that GPU feature discovery writes.

A pod that requests one is scheduled and runs; the next one waits with `Insufficient nvidia.com/gpu`, as on real
hardware. Works with any provider, because it only talks to the API server. The kubelet leaves the resource alone for
as long as it runs, and that of a local cluster also when it is started again.
"""

import argparse
import json
from dataclasses import dataclass
from typing import Any

from dev.cluster import binaries
from dev.cluster.providers.interface import Say
from dev.errors import DevError
from dev.shell import run

DEFAULT_PRODUCT = "NVIDIA-A100-SXM4-80GB"
DEFAULT_RESOURCE = "nvidia.com/gpu"
_MANAGED = "slipway.dev/fake-gpu"


@dataclass(frozen=True)
class Gpus:
    """What a node is said to have; `memory` of each in MiB."""

    count: int
    product: str = DEFAULT_PRODUCT
    memory: int = 81920
    resource: str = DEFAULT_RESOURCE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The words of `python -m dev.cluster gpu`."""
    parser.add_argument("node", nargs="?", default="", help="which node, or `off` (default: the only one)")
    parser.add_argument("--off", action="store_true", help="take the fake GPUs away again")
    parser.add_argument("--count", type=int, default=1, help="how many (default: %(default)s)")
    parser.add_argument(
        "--product", default=DEFAULT_PRODUCT, help="label nvidia.com/gpu.product (default: %(default)s)"
    )
    parser.add_argument("--memory", type=int, default=81920, help="MiB of each (default: %(default)s)")
    parser.add_argument("--resource", default=DEFAULT_RESOURCE, help="for example nvidia.com/mig-1g.10gb")


def labels(gpus: Gpus) -> dict[str, str]:
    """Labels of a node with these GPUs, as GPU feature discovery writes them."""
    family = "ampere" if "A100" in gpus.product else "hopper" if "H100" in gpus.product else "unknown"
    return {
        "nvidia.com/gpu.present": "true",
        "nvidia.com/gpu.product": gpus.product,
        "nvidia.com/gpu.count": str(gpus.count),
        "nvidia.com/gpu.memory": str(gpus.memory),
        "nvidia.com/gpu.family": family,
        "nvidia.com/gpu.replicas": "1",
        "nvidia.com/mig.strategy": "single",
    }


def patches(node: dict[str, Any], gpus: Gpus | None) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """The merge patch of the node's metadata and the JSON patch of its status. Pure; None takes the GPUs away.

    Only a resource that an earlier call added is ever removed: the node remembers it in an annotation.
    """
    metadata = node["metadata"]
    before = metadata.get("annotations", {}).get(_MANAGED)
    old = dict.fromkeys(key for key in metadata.get("labels", {}) if key in labels(Gpus(0)))
    new: dict[str, str | None] = {**(old if before else {}), **(labels(gpus) if gpus else {})}
    meta = {"metadata": {"labels": new, "annotations": {_MANAGED: gpus.resource if gpus else None}}}
    operations = []
    for field in ("capacity", "allocatable"):
        if before and before != (gpus.resource if gpus else None) and before in node["status"].get(field, {}):
            operations.append({"op": "remove", "path": f"/status/{field}/{_escape(before)}"})
        if gpus:
            operations.append(
                {"op": "add", "path": f"/status/{field}/{_escape(gpus.resource)}", "value": str(gpus.count)}
            )
    return meta, operations


def main(kubeconfig: str, options: argparse.Namespace, say: Say) -> int:
    """Runs `python -m dev.cluster gpu`."""
    off = options.off or options.node == "off"
    gpus = None if off else Gpus(options.count, options.product, options.memory, options.resource)
    name = apply(kubeconfig, "" if options.node == "off" else options.node, gpus, say)
    say(f"{name} has {f'{gpus.count} x {gpus.product} ({gpus.resource})' if gpus else 'no fake GPUs'}")
    return 0


def apply(kubeconfig: str, name: str, gpus: Gpus | None, say: Say) -> str:
    """Gives the node called `name` (the only one when empty) these GPUs, or none; returns the node's name."""
    if gpus is not None and (gpus.count < 0 or "/" not in gpus.resource):
        raise DevError("a GPU resource is named like nvidia.com/gpu, and its count is not negative")
    kubectl = [str(binaries.ensure("kubectl", say)), "--kubeconfig", kubeconfig]
    nodes = {
        item["metadata"]["name"]: item for item in json.loads(run([*kubectl, "get", "nodes", "-o", "json"]))["items"]
    }
    if not name and len(nodes) != 1:
        raise DevError(f"the cluster has {len(nodes)} nodes", f"Name one of: {', '.join(nodes)}.")
    name = name or next(iter(nodes))
    if name not in nodes:
        raise DevError(f"the cluster has no node {name}", f"It has: {', '.join(nodes)}.")
    meta, operations = patches(nodes[name], gpus)
    patch = [*kubectl, "patch", "node", name]
    if operations:
        run([*patch, "--subresource=status", "--type=json", "-p", json.dumps(operations)])
    run([*patch, "--type=merge", "-p", json.dumps(meta)])
    return name


def _escape(key: str) -> str:
    """A key as a JSON pointer wants it."""
    return key.replace("~", "~0").replace("/", "~1")
