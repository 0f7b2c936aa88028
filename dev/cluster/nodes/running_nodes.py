"""The nodes of a running local cluster: whether they are ready, and the images in their containerd."""

import contextlib
from collections.abc import Mapping, Sequence

from dev.cluster import processes
from dev.cluster.api_client import Api
from dev.cluster.nodes import image_archives
from dev.cluster.nodes.controlplane_node import ControlPlaneNode
from dev.cluster.nodes.node import Node
from dev.cluster.nodes.node_config import PAUSE_IMAGE
from dev.cluster.ports import accepts, listens
from dev.cluster.providers.interface import Fact
from dev.errors import DevError

READY_SECONDS = 120


def await_runtime(member: Node) -> None:
    """Waits until a node's containerd answers."""
    socket_file, daemon = member.places.socket, member.runtime().daemon
    processes.wait_until(lambda: accepts(socket_file), "containerd's socket", timeout=READY_SECONDS, daemons=[daemon])


def load_pause(member: Node, first: ControlPlaneNode) -> None:
    """Puts the image of the pods' sandboxes on a node."""
    images_there = store(member)
    if PAUSE_IMAGE in images_there.present():
        return
    archive = member.places.etc / "pause.tar"
    archive.write_bytes(image_archives.program_archive(first.programs["pause"], first.architecture(), PAUSE_IMAGE))
    images_there.load(archive)


def store(member: Node) -> image_archives.Store:
    """The images of a node. Raises DevError while its containerd does not run."""
    if not accepts(member.places.socket):
        raise DevError(f"{member.node} is not running", "Start the cluster: `python -m dev.cluster up`.")
    return image_archives.Store(member.places.socket, member.places.state / "images.json")


def await_nodes(first: ControlPlaneNode, others: Sequence[Node], not_before: Mapping[str, str]) -> None:
    """Waits until every node is Ready; a sign of life at `not_before` or earlier does not count."""
    api, members = first.api(), (first, *others)
    daemons = [part.daemon for member in members for part in member.parts()]

    def ready() -> bool:
        with contextlib.suppress(DevError):
            accounts = api.healthy("/api/v1/namespaces/default/serviceaccounts/default")
            good = [node_fact(api, m.node).good and last_sign(api, m.node) > not_before[m.node] for m in members]
            return accounts and all(good) and listens(str(first.network.node), 53)
        return False

    names = ", ".join(member.node for member in members)
    processes.wait_until(ready, f"the nodes {names}", timeout=READY_SECONDS, daemons=daemons, poll=0.2)


def node_fact(api: Api, name: str) -> Fact:
    """Whether the API server has a node for Ready."""
    status = api.get(f"/api/v1/nodes/{name}")["status"]
    ready = next((c for c in status.get("conditions", []) if c["type"] == "Ready"), {"status": "Unknown"})
    version = status["nodeInfo"]["kubeletVersion"]
    return Fact(f"node {name}", ready["status"] == "True", f"{version} {ready.get('message', '')}".strip())


def last_sign(api: Api, name: str) -> str:
    """When the kubelet last renewed its lease, as a time stamp that sorts; empty when it never did."""
    path = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{name}"
    return str(api.get(path)["spec"]["renewTime"]) if api.exists(path) else ""
