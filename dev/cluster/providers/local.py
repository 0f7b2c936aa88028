"""The provider `local`: Kubernetes on this machine, without Docker: one node or several, in namespaces of their own.

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

from dev.cluster import binaries, processes, state
from dev.cluster.nodes import addons, cgroups, checks, namespaces, packages, running_nodes
from dev.cluster.nodes.controlplane_node import METRICS, PROGRAMS, ControlPlaneNode
from dev.cluster.nodes.links import FurtherNamespaces
from dev.cluster.nodes.namespaces import KUBELET_ROOT, Namespaces
from dev.cluster.nodes.network import MAX_CLUSTERS, MAX_NODES, Network, choose, overlaps, parse_routes
from dev.cluster.nodes.node import EVERYWHERE, Node, Part, further, namespaces_of
from dev.cluster.paths import kubeconfig_path, state_dir
from dev.cluster.providers.interface import Fact, Say
from dev.cluster.state import Record
from dev.errors import DevError
from dev.shell import find, run

_STOP_SECONDS = 3


class Local:
    """See the module's text. `nodes` is how many nodes `up` shall see to; None leaves the number as it is.

    Without `metrics`, metrics-server is left out where it would have to be built first.
    """

    def __init__(
        self, name: str, say: Say, *, install_packages: bool = False, nodes: int | None = None, metrics: bool = True
    ) -> None:
        self._name, self._say, self._install, self._nodes = name, say, install_packages, nodes
        self._metrics = metrics
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
        metrics = self._metrics or binaries.path(METRICS).exists()
        programs = binaries.ensure_all([*PROGRAMS, METRICS] if metrics else PROGRAMS, self._say)
        record = self._record()
        node = ControlPlaneNode(self._name, Network(record.index), programs)
        others = [Node(self._name, Network(record.index, n), programs) for n in range(2, record.nodes + 1)]
        fresh = not node.namespaces.exist()
        if fresh:
            self._say(f"starting Kubernetes {binaries.version('kubelet')} ({self._name}, {node.network.node})")
            self._check_machine()
            # Whatever still runs from before lost its namespaces.
            namespaces.kill_marked(self._state)
            cgroups.remove(self._name)
            shutil.rmtree(self._state / "logs", ignore_errors=True)
            self._remove_further(node.network)
        node.write()
        cgroups.ensure(self._name)
        node.namespaces.create()
        for other in others:
            self._make(other, node)
        self._start_all(node, others, fresh=fresh)
        ready = ", ".join(member.node for member in (node, *others))
        self._say(f"{ready}: Ready after {time.monotonic() - started:.1f} s")

    def down(self) -> None:
        """See Provider."""
        checks.root()
        # Found by what is there, not by what was written down: that may be lost.
        # The kubelet goes first, with all the daemons: it would start again what is killed.
        namespaces.kill_marked(self._state)
        cgroups.remove(self._name)
        for network in self._linked_networks() or [Network(0)]:
            self._remove_further(network)
            Namespaces(self._state, network).remove()
        inside = [point for point in namespaces.mount_points() if Path(point).is_relative_to(self._state)]
        if inside:
            raise DevError(f"something is mounted in {self._state}: {', '.join(inside)}", "Unmount it first.")
        if self._state.exists():
            shutil.rmtree(self._state)
        if not state.names():  # removing it under a running cluster would unmount it there
            with contextlib.suppress(OSError):
                KUBELET_ROOT.rmdir()

    def status(self) -> list[Fact]:
        """See Provider."""
        checks.root()
        first, *others = self._members()
        facts = []
        for member in (first, *others):
            where = f" ({member.node})" if member is not first else ""
            facts.append(Fact(f"namespaces{where}", member.namespaces.exist(), str(member.namespaces.folder)))
            known = {path.stem for path in member.places.run.glob("*.pid")} | set(EVERYWHERE)
            for pid_file in (member.places.run / f"{name}.pid" for name in sorted(known)):
                pid = processes.running_pid(pid_file)
                log = member.places.logs / f"{pid_file.stem}.log"
                word = f"pid {pid}" if pid else f"not running; see {log}"
                facts.append(Fact(f"{pid_file.stem}{where}", pid is not None, word))
        with contextlib.suppress(DevError, OSError):
            api = ControlPlaneNode(self._name, first.network, {}).api()
            facts.append(Fact("API server", api.healthy("/readyz"), first.network.url))
            facts += [running_nodes.node_fact(api, member.node) for member in (first, *others)]
            metrics = api.healthy("/apis/metrics.k8s.io/v1beta1/nodes")
            facts.append(Fact("resource metrics", metrics, "" if metrics else "not yet (they take 20 s after a start)"))
        return facts

    def load(self, names: Sequence[str]) -> None:
        """See Provider."""
        checks.root()
        stores = [running_nodes.store(member) for member in self._members()]
        for name in names:
            with tempfile.TemporaryDirectory() as scratch:
                archive = Path(name) if Path(name).exists() else _save_from_docker(name, Path(scratch))
                started = time.monotonic()
                imported = sorted({image for store in stores for image in store.load(archive)})
            took = f"in {time.monotonic() - started:.0f} s" if imported else "already there"
            self._say(f"loaded {name} ({took})" if not imported else f"loaded {', '.join(imported)} ({took})")

    def inside(self, argv: Sequence[str], number: int = 1) -> list[str]:
        """The command line that runs `argv` in the namespaces of a node."""
        return self._member(number).namespaces.inside(argv)

    def lose(self, number: int, *, cut: bool = False) -> str:
        """Stops the kubelet of a further node, or cuts its network; its pods go on. `up` repairs both.

        Returns the node's name. Raises DevError for the first node: the control plane is there.
        """
        checks.root()
        member = self._member(number)
        spaces = member.namespaces
        if not isinstance(spaces, FurtherNamespaces):
            raise DevError("the control plane is on node 1", "Only a further node can be lost.")
        if cut:
            spaces.cut()
        else:
            processes.stop(member.places.run / "kubelet.pid", grace=_STOP_SECONDS)
        return member.node

    def _record(self) -> Record:
        """What is known of the cluster, made and written down when it is new, with the requested number of nodes."""
        record = state.load(self._name)
        wanted = self._nodes if self._nodes is not None else record.nodes if record else 1
        if not 1 <= wanted <= MAX_NODES:
            raise DevError(f"a local cluster has 1 to {MAX_NODES} nodes, not {wanted}")
        if record is not None and wanted < record.nodes:
            raise DevError(f"the cluster has {record.nodes} nodes, more than {wanted}", "Take it down first.")
        if record is not None and wanted == record.nodes:
            return record
        with state.allocation():
            others = [known for name in state.names() if (known := state.load(name)) and known.provider == "local"]
            own = [Network(index).device for index in range(MAX_CLUSTERS)]
            routes = parse_routes("\n".join(namespaces.foreign_routes(own)))
            links = {index for index, device in enumerate(own) if namespaces.linked_cluster(device) is not None}
            linked = [Network(record.index)] if record else self._linked_networks()
            network = linked[0] if linked else choose({known.index for known in others} | links, routes, wanted)
            if in_the_way := overlaps(network, routes, wanted):
                raise DevError(f"the host routes {', '.join(map(str, in_the_way))}, which a node would need")
            record = Record("local", index=network.index, nodes=wanted)
            state.save(self._name, record)
        return record

    def _members(self) -> list[Node]:
        """Every node the cluster is said to have."""
        record = state.load(self._name)
        if record is None:
            raise DevError(f"there is no cluster {self._name}", "Make one: `python -m dev.cluster up`.")
        return [Node(self._name, Network(record.index, number), {}) for number in range(1, record.nodes + 1)]

    def _member(self, number: int) -> Node:
        found = self._members()
        if not 1 <= number <= len(found):
            raise DevError(f"the cluster {self._name} has no node {number}", f"It has {len(found)}.")
        return found[number - 1]

    def _make(self, member: Node, first: ControlPlaneNode) -> None:
        """Writes a further node's files and makes its namespaces; ends what ran in earlier ones."""
        if not member.namespaces.exist():
            for pid_file in sorted(member.places.run.glob("*.pid")):
                processes.stop(pid_file, grace=_STOP_SECONDS)
            cgroups.remove(self._name, node=member.network.number)
        member.write_node(first.authority())
        cgroups.ensure(self._name, node=member.network.number)
        member.namespaces.create()

    def _remove_further(self, network: Network) -> None:
        for number in further(self._name):
            namespaces_of(self._name, Network(network.index, number)).remove()

    def _linked_networks(self) -> list[Network]:
        """Every network whose link leads to this cluster: one, or none when there is no cluster."""
        every = map(Network, range(MAX_CLUSTERS))
        return [network for network in every if namespaces.linked_cluster(network.device) == self._name]

    def _check_machine(self) -> None:
        checks.cgroup_controllers()
        checks.overlay()
        checks.network_features()
        checks.state_folder(self._state)

    def _start_all(self, node: ControlPlaneNode, others: Sequence[Node], *, fresh: bool) -> None:
        """Starts every daemon that does not run as described, and waits for the nodes."""
        control, nodes = node.control_plane(), (node, *others)
        changed = [self._start(part) for part in control]
        changed += [self._start(member.runtime(), member) for member in nodes]
        api = node.api()
        daemons = [part.daemon for part in control]
        processes.wait_until(
            lambda: api.healthy("/readyz"), "the API server", timeout=running_nodes.READY_SECONDS, daemons=daemons
        )
        system = "/api/v1/namespaces/kube-system"
        processes.wait_until(
            lambda: api.healthy(system), "kube-system", timeout=running_nodes.READY_SECONDS, daemons=daemons
        )
        changed += [self._start(part) for part in node.controllers()]
        for path, item in addons.objects(node.network, node.authority_base64() if METRICS in node.programs else None):
            api.apply(path, item)
        for member in nodes:
            running_nodes.await_runtime(member)
            running_nodes.load_pause(member, node)
        seen = {member.node: running_nodes.last_sign(api, member.node) for member in nodes}
        for member in nodes:
            kubelet, proxy = [self._start(part, member) for part in member.agents()]
            changed += [kubelet, proxy]
            if not kubelet:
                seen[member.node] = ""  # only a kubelet that was started has to give a new sign of life
        changed += [self._start(part) for part in node.services()]
        again = [name for name in changed if name]
        if again and not fresh:
            self._say(f"started again: {', '.join(again)}")
        running_nodes.await_nodes(node, others, seen)

    def _start(self, part: Part, member: Node | None = None) -> str:
        """Starts one daemon, again when it was given something else before; returns its name if it had to."""
        mark = part.daemon.pid_file.with_suffix(".given")
        running = processes.running_pid(part.daemon.pid_file) is not None
        if running and mark.exists() and mark.read_text() == part.fingerprint:
            return ""
        if running:
            processes.stop(part.daemon.pid_file, grace=_STOP_SECONDS)
        processes.start(part.daemon)
        mark.write_text(part.fingerprint)
        further = member is not None and member.network.number > 1
        return f"{part.daemon.name} ({member.node})" if member is not None and further else part.daemon.name


def _save_from_docker(name: str, folder: Path) -> Path:
    if find("docker") is None:
        raise DevError(f"{name} is no file, and there is no Docker that could know an image of that name")
    archive = folder / "image.tar"
    try:
        run(["docker", "save", name, "--output", archive], timeout=600)
    except DevError as error:
        raise DevError(f"{name} is neither a file nor an image that Docker knows", error.message) from error
    return archive
