"""A pod for the conformance suite: the operator's own in everything but its models and flags, and the way to its ports."""

import copy
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dev.kit import archive_server
from dev.kit.kubectl import Kubectl, Manifest
from dev.kit.reach import GRPC_PORT, REST_PORT, answers
from tests.conformance import make_models, suite

MODELS = "/models"
ARCHIVE = "conformance.tar.gz"
UNPACK = f"""
import sys, tarfile, urllib.request
with urllib.request.urlopen(sys.argv[1], timeout=30) as answer, tarfile.open(fileobj=answer, mode="r|gz") as archive:
    archive.extractall("{MODELS}")
"""


def publish(kubectl: Kubectl, scratch: Path) -> None:
    """Make the suite's models below `scratch` and give them to the web server of archives."""
    folder = scratch / "models"
    suite.make_models(folder, MODELS)
    with tarfile.open(scratch / ARCHIVE, "w:gz") as archive:
        for path in sorted(folder.iterdir()):
            archive.add(path, path.name)
    archive_server.put(kubectl, scratch / ARCHIVE)


def pod(name: str, rendered: Manifest) -> Manifest:
    """Return a pod that serves the suite's models.

    Args:
        name: of the pod.
        rendered: the operator's Deployment of a model, as the API server has it: image, security, volumes and probes
            stay; fetch brings the suite's models instead, and the server gets the suite's flags.
    """
    spec = copy.deepcopy(rendered["spec"]["template"]["spec"])
    [fetch], [server] = spec["initContainers"], spec["containers"]
    fetch["command"], fetch["args"] = ["python3", "-c", UNPACK], [archive_server.url(ARCHIVE)]
    server["args"] = [f"--port={GRPC_PORT}", f"--rest_api_port={REST_PORT}", *make_models.flags(MODELS)]
    spec["restartPolicy"] = "Never"  # a server that ends has failed; a new one would hide it
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


@contextmanager
def route(kubectl: Kubectl, ready: Manifest) -> Iterator[str]:
    """Yield the `--address` of a pod's server: its own address, where the host has a route to it, else port-forward."""
    address = ready["status"]["podIP"]
    if answers(address, REST_PORT):
        yield f"{address}:{GRPC_PORT},{REST_PORT}"
        return
    with kubectl.port_forward(f"pod/{ready['metadata']['name']}", (GRPC_PORT, REST_PORT)) as ports:
        yield f"127.0.0.1:{ports[GRPC_PORT]},{ports[REST_PORT]}"
