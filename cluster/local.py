"""The provider `local`: a whole Kubernetes node on this machine, without Docker, in namespaces of its own.

up    = check, build, choose addresses, write files, make namespaces, start what does not run, apply add-ons, wait
down  = kill by mark and by control group, take the namespaces away, remove the files
Both may be repeated at any point, also after a run that was killed half-way.
"""

import contextlib
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from cluster import addons, binaries, cgroups, checks, images, namespaces, packages, processes, state
from cluster.api import Api
from cluster.errors import ClusterError
from cluster.localnode import PROGRAMS, LocalNode, Part
from cluster.namespaces import KUBELET_ROOT, Namespaces
from cluster.network import MAX_CLUSTERS, Network, choose, parse_routes
from cluster.node import PAUSE_IMAGE
from cluster.paths import kubeconfig_path, state_dir
from cluster.ports import accepts, listens
from cluster.provider import Fact, Say
from cluster.shell import find, run
from cluster.state import Record

_READY_SECONDS = 120
_STOP_SECONDS = 3


class Local:
    """See the module's text."""

    def __init__(self, name: str, say: Say, *, install_packages: bool = False) -> None:
        self._name, self._say, self._install = name, say, install_packages
        self._state = state_dir(name)

    def kubeconfig(self) -> Path:
        """See Provider."""
        return kubeconfig_path(self._name)

    def up(self) -> None:
        """See Provider."""
        started = time.monotonic()
        checks.linux()
        checks.root()
        packages.require(install=self._install, say=self._say)
        programs = binaries.ensure_all(PROGRAMS, self._say)
        node = LocalNode(self._name, self._network(), programs)
        fresh = not node.namespaces.exist()
        if fresh:
            self._say(f"starting Kubernetes {binaries.version('kubelet')} ({self._name}, {node.network.node})")
            self._check_machine()
            # Whatever still runs from before lost its namespaces.
            namespaces.kill_marked(self._state)
            cgroups.remove(self._name)
            shutil.rmtree(self._state / "logs", ignore_errors=True)
        node.write()
        cgroups.ensure(self._name)
        node.namespaces.create()
        self._start_all(node, fresh=fresh)
        self._say(f"{node.node} is Ready after {time.monotonic() - started:.1f} s")

    def down(self) -> None:
        """See Provider."""
        checks.root()
        # Found by what is there, not by what was written down: that may be lost.
        # The kubelet goes first, with all the daemons: it would start again what is killed.
        namespaces.kill_marked(self._state)
        cgroups.remove(self._name)
        for network in self._linked_networks() or [Network(0)]:
            Namespaces(self._state, network).remove()
        inside = [point for point in namespaces.mount_points() if Path(point).is_relative_to(self._state)]
        if inside:
            raise ClusterError(f"something is mounted in {self._state}: {', '.join(inside)}", "Unmount it first.")
        if self._state.exists():
            shutil.rmtree(self._state)
        if not state.names():  # removing it under a running cluster would unmount it there
            with contextlib.suppress(OSError):
                KUBELET_ROOT.rmdir()

    def status(self) -> list[Fact]:
        """See Provider."""
        checks.root()
        spaces = self._namespaces()
        facts = [Fact("namespaces", spaces.exist(), str(spaces.folder))]
        for pid_file in sorted((self._state / "run").glob("*.pid")):
            pid = processes.running_pid(pid_file)
            log = self._state / "logs" / f"{pid_file.stem}.log"
            facts.append(Fact(pid_file.stem, pid is not None, f"pid {pid}" if pid else f"not running; see {log}"))
        node = LocalNode(self._name, spaces.network, {})
        with contextlib.suppress(ClusterError, OSError):
            api = node.api()
            facts.append(Fact("API server", api.healthy("/readyz"), spaces.network.url))
            facts.append(_node_fact(api, node.node))
            metrics = api.healthy("/apis/metrics.k8s.io/v1beta1/nodes")
            facts.append(Fact("resource metrics", metrics, "" if metrics else "not yet (they take 20 s after a start)"))
        return facts

    def load(self, names: Sequence[str]) -> None:
        """See Provider."""
        checks.root()
        store = self._store()
        for name in names:
            with tempfile.TemporaryDirectory() as scratch:
                archive = Path(name) if Path(name).exists() else _save_from_docker(name, Path(scratch))
                started = time.monotonic()
                imported = store.load(archive)
            took = f"in {time.monotonic() - started:.0f} s" if imported else "already there"
            self._say(f"loaded {name} ({took})" if not imported else f"loaded {', '.join(imported)} ({took})")

    def inside(self, argv: Sequence[str]) -> list[str]:
        """The command line that runs `argv` in the cluster's namespaces."""
        return self._namespaces().inside(argv)

    def _network(self) -> Network:
        record = state.load(self._name)
        if record is not None:
            return Network(record.index)
        with state.allocation():
            others = [known for name in state.names() if (known := state.load(name)) and known.provider == "local"]
            own = [Network(index).device for index in range(MAX_CLUSTERS)]
            routes = parse_routes("\n".join(namespaces.foreign_routes(own)))
            links = {index for index, device in enumerate(own) if namespaces.linked_cluster(device) is not None}
            linked = self._linked_networks()
            network = linked[0] if linked else choose({known.index for known in others} | links, routes)
            state.save(self._name, Record("local", index=network.index))
        return network

    def _namespaces(self) -> Namespaces:
        record = state.load(self._name)
        if record is None:
            raise ClusterError(f"there is no cluster {self._name}", "Make one: `python -m cluster up`.")
        return Namespaces(self._state, Network(record.index))

    def _linked_networks(self) -> list[Network]:
        """Every network whose link leads to this cluster: one, or none when there is no cluster."""
        every = map(Network, range(MAX_CLUSTERS))
        return [network for network in every if namespaces.linked_cluster(network.device) == self._name]

    def _check_machine(self) -> None:
        checks.cgroup_controllers()
        checks.overlay()
        checks.network_features()
        checks.state_folder(self._state)

    def _start_all(self, node: LocalNode, *, fresh: bool) -> None:
        """Starts every daemon that does not run as described, and waits for the node."""
        control, runtime = node.control_plane(), node.runtime()
        changed = [self._start(part) for part in (*control, runtime)]
        api = node.api()
        daemons = [part.daemon for part in control]
        processes.wait_until(lambda: api.healthy("/readyz"), "the API server", timeout=_READY_SECONDS, daemons=daemons)
        system = "/api/v1/namespaces/kube-system"
        processes.wait_until(lambda: api.healthy(system), "kube-system", timeout=_READY_SECONDS, daemons=daemons)
        changed += [self._start(part) for part in node.controllers()]
        for path, item in addons.objects(node.network, node.authority_base64()):
            api.apply(path, item)
        socket_file = node.places.socket
        processes.wait_until(
            lambda: accepts(socket_file), "containerd's socket", timeout=_READY_SECONDS, daemons=[runtime.daemon]
        )
        self._load_pause(node)
        seen = _last_sign(api, node.node)
        changed += [self._start(part) for part in (*node.node_agents(), *node.services())]
        again = [name for name in changed if name]
        if again and not fresh:
            self._say(f"started again: {', '.join(again)}")
        self._await_node(node, not_before=seen if "kubelet" in again else "")

    def _start(self, part: Part) -> str:
        """Starts one daemon, again when it was given something else before; returns its name if it had to."""
        mark = part.daemon.pid_file.with_suffix(".given")
        running = processes.running_pid(part.daemon.pid_file) is not None
        if running and mark.exists() and mark.read_text() == part.fingerprint:
            return ""
        if running:
            processes.stop(part.daemon.pid_file, grace=_STOP_SECONDS)
        processes.start(part.daemon)
        mark.write_text(part.fingerprint)
        return part.daemon.name

    def _load_pause(self, node: LocalNode) -> None:
        store = self._store()
        if PAUSE_IMAGE in store.present():
            return
        archive = node.places.etc / "pause.tar"
        archive.write_bytes(images.program_archive(node.programs["pause"], node.architecture(), PAUSE_IMAGE))
        store.load(archive)

    def _store(self) -> images.Store:
        spaces = self._namespaces()
        node = LocalNode(self._name, spaces.network, {})
        if not accepts(node.places.socket):
            raise ClusterError(f"the cluster {self._name} is not running", "Start it: `python -m cluster up`.")
        return images.Store(node.places.socket, self._state / "images.json")

    def _await_node(self, node: LocalNode, *, not_before: str) -> None:
        """Waits until the node is Ready; a sign of life at `not_before` or earlier does not count."""
        api = node.api()
        daemons = [part.daemon for part in node.parts()]

        def ready() -> bool:
            with contextlib.suppress(ClusterError):
                accounts = api.healthy("/api/v1/namespaces/default/serviceaccounts/default")
                good = _node_fact(api, node.node).good and _last_sign(api, node.node) > not_before
                return accounts and good and listens(str(node.network.node), 53)
            return False

        processes.wait_until(ready, f"the node {node.node}", timeout=_READY_SECONDS, daemons=daemons, poll=0.2)


def _node_fact(api: Api, name: str) -> Fact:
    status = api.get(f"/api/v1/nodes/{name}")["status"]
    ready = next((c for c in status.get("conditions", []) if c["type"] == "Ready"), {"status": "Unknown"})
    version = status["nodeInfo"]["kubeletVersion"]
    return Fact(f"node {name}", ready["status"] == "True", f"{version} {ready.get('message', '')}".strip())


def _last_sign(api: Api, name: str) -> str:
    """When the kubelet last renewed its lease, as a time stamp that sorts; empty when it never did."""
    path = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{name}"
    return str(api.get(path)["spec"]["renewTime"]) if api.exists(path) else ""


def _save_from_docker(name: str, folder: Path) -> Path:
    if find("docker") is None:
        raise ClusterError(f"{name} is no file, and there is no Docker that could know an image of that name")
    archive = folder / "image.tar"
    try:
        run(["docker", "save", name, "--output", archive], timeout=600)
    except ClusterError as error:
        raise ClusterError(f"{name} is neither a file nor an image that Docker knows", error.message) from error
    return archive
