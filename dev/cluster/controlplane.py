"""A Kubernetes control plane for tests and benchmarks, on loopback, for the life of a `with` block.

    with ControlPlane() as plane:                                 # etcd + kube-apiserver: ready in seconds
        config = plane.kubeconfig()                               # cluster-admin
        alice = plane.kubeconfig(user="alice", groups=["team"])   # nobody until RBAC says otherwise
        plane.restart_apiserver()                                 # same address, same data

    with ControlPlane(Options(controller_manager=True, scheduler=True, kwok=Nodes(count=50), audit=True)) as plane:
        ...
        for event in plane.audit_events(): ...                    # who requested what, from the API server itself

It needs no root and no container; there are no kubelets, so pods run only in the sense that kwok says so. Without the
controller-manager nothing makes ReplicaSets, endpoints or tokens, and a deleted namespace stays Terminating.
Everything is stopped and removed at the end; what a killed process left behind goes when the next one starts.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from dev.cluster import binaries, components, pki, processes
from dev.cluster.api_client import Api
from dev.cluster.components import UNLIMITED, Qps
from dev.cluster.kubeconfig import Access
from dev.cluster.kubeconfig import write as write_kubeconfig
from dev.cluster.paths import TOOLS
from dev.cluster.ports import free_ports, listens
from dev.cluster.processes import Daemon
from dev.cluster.simulated_nodes import Nodes, node_object
from dev.errors import DevError

__all__ = ["ControlPlane", "Nodes", "Options", "free_ports", "sweep"]

_PREFIX = "slipway-plane-"
STAGES = TOOLS / "kwok" / "stages.yaml"
_LOOPBACK = "127.0.0.1"
_ADMIN = "kubernetes-admin"


@dataclass(frozen=True)
class Options:
    """What to start beside etcd and kube-apiserver. `kwok` needs the other two to be of any use.

    `limits` are the client-side rate limits of controller-manager and scheduler. `apiserver_flags` and
    `controller_manager_flags` are added last and so win over ours. `seconds` is the longest wait for one component.
    """

    controller_manager: bool = False
    scheduler: bool = False
    kwok: Nodes | None = None
    audit: bool = False
    limits: Qps = UNLIMITED
    apiserver_flags: tuple[str, ...] = ()
    controller_manager_flags: tuple[str, ...] = ()
    seconds: float = 60


class ControlPlane:
    """See the module's text.

    Attributes: `url` (https://127.0.0.1:PORT), `folder` (logs are in its `logs`), `authority` (CA certificate file),
    `audit_log` (the file, with Options.audit).
    """

    def __init__(self, options: Options | None = None, report: binaries.Report | None = None) -> None:
        self._options = options or Options()
        self._programs = binaries.ensure_all(_programs(self._options), report)
        sweep()
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        processes.write_pid(self.folder / "owner.pid", os.getpid())
        ports = free_ports(6)
        self._etcd_port, self._etcd_peer_port, self._port = ports[:3]
        self._controller_port, self._scheduler_port, self._kwok_port = ports[3:]
        self.url = f"https://{_LOOPBACK}:{self._port}"
        self.audit_log = self.folder / "audit.log"
        self._ca = pki.create_authority(self.folder / "pki")
        self.authority = self._ca.cert
        self._signing = pki.create_signing_key(self.folder / "pki")
        self._daemons: dict[str, Daemon] = {}
        self._api = Api(self._access(_ADMIN, ["system:masters"]))

    def __enter__(self) -> Self:
        try:
            self.start_etcd()
            self.start_apiserver()
            if self._options.controller_manager:
                self._start_controller_manager()
            if self._options.scheduler:
                self._start_scheduler()
            if self._options.kwok is not None:
                self._start_kwok(self._options.kwok)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kills every component and removes the folder; nothing in it is worth a graceful end."""
        _remove(self.folder)

    def kubeconfig(self, user: str = _ADMIN, groups: Sequence[str] | None = None) -> Path:
        """A kubeconfig file with a client certificate for `user` in `groups`, made on the first call.

        Without arguments the user is cluster-admin. Any other user is in no group unless `groups` says so, and is
        allowed what RBAC grants it. The user's name is what the audit log shows.
        """
        if groups is None:
            groups = ["system:masters"] if user == _ADMIN else []
        file = self.folder / "users" / f"{_file_name(user, groups)}.kubeconfig"
        if not file.exists():
            write_kubeconfig(file, self._access(user, groups), context="slipway-plane", user=user)
        return file

    def api(self) -> Api:
        """A plain client with all rights, for what a test sets up and looks at. Not thread-bound."""
        return self._api

    # -- etcd and kube-apiserver: may be stopped and started again; address and data stay the same

    def start_etcd(self) -> None:
        """Starts etcd and waits until it answers."""
        data, url = self.folder / "etcd", f"http://{_LOOPBACK}:{self._etcd_port}"
        peer = f"http://{_LOOPBACK}:{self._etcd_peer_port}"
        daemon = self._run("etcd", components.etcd(self._programs["etcd"], data, url, peer))
        self._await(daemon, "etcd's port", lambda: listens(_LOOPBACK, self._etcd_port))

    def stop_etcd(self, *, grace: float = 0) -> None:
        """Kills etcd, after SIGTERM and `grace` seconds if there are any; the data stay for `start_etcd`."""
        self._stop("etcd", grace)

    def start_apiserver(self) -> None:
        """Starts kube-apiserver and waits until it is ready and the namespace `default` is there."""
        daemon = self._run("kube-apiserver", components.apiserver(self._programs["kube-apiserver"], self._settings()))
        self._await(daemon, "the API server", lambda: self._api.healthy("/readyz"))
        self._await(daemon, "the namespace `default`", lambda: self._api.healthy("/api/v1/namespaces/default"))

    def stop_apiserver(self, *, grace: float = 0) -> None:
        """Kills kube-apiserver: clients see their connections break, then refused, until `start_apiserver`."""
        self._stop("kube-apiserver", grace)

    def restart_apiserver(self) -> None:
        """Kills kube-apiserver and starts it again at the same address."""
        self.stop_apiserver()
        self.start_apiserver()

    def pid(self, component: str) -> int | None:
        """Process of one component (`etcd`, `kube-apiserver` …); None when it does not run."""
        return processes.running_pid(self.folder / "run" / f"{component}.pid")

    def log(self, component: str) -> Path:
        """Log file of one component."""
        return self.folder / "logs" / f"{component}.log"

    def audit_events(self) -> Iterator[dict[str, Any]]:
        """The audit log's events up to now, oldest first; a line that is still being written is left out."""
        if not self._options.audit:
            raise DevError("this control plane keeps no audit log", "Start it with Options(audit=True).")
        if self.audit_log.exists():
            with self.audit_log.open() as lines:
                for line in lines:
                    if line.endswith("\n"):
                        yield json.loads(line)

    # -- the rest

    def _settings(self) -> components.ApiServer:
        serving = pki.issue(
            self._ca,
            self.folder / "pki",
            "apiserver",
            user="kube-apiserver",
            alt_names=["DNS:localhost", "DNS:kubernetes.default.svc", f"IP:{_LOOPBACK}"],
        )
        policy = self.folder / "audit-policy.json"
        policy.write_text(components.audit_policy())
        return components.ApiServer(
            etcd_url=f"http://{_LOOPBACK}:{self._etcd_port}",
            bind_address=_LOOPBACK,
            # Must not be loopback; nobody is told about it, because no endpoint is published.
            advertise_address="198.51.100.1",
            port=self._port,
            service_cidr="10.0.0.0/16",
            authority=self._ca.cert,
            serving=serving,
            signing=self._signing,
            # Nobody makes the default service account without the controller-manager, and pods would be refused.
            disabled_admission=() if self._options.controller_manager else ("ServiceAccount",),
            publish_endpoint=False,
            audit=(policy, self.audit_log) if self._options.audit else None,
            extra=self._options.apiserver_flags,
        )

    def _start_controller_manager(self) -> None:
        config = self.kubeconfig("system:kube-controller-manager")
        name = "kube-controller-manager"
        flags = self._options.controller_manager_flags
        argv = components.controller_manager(
            self._programs[name], config, self._ca, self._signing, self._controller_port, self._options.limits, *flags
        )
        daemon = self._run(name, argv)
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        self._await(daemon, "the default service account", lambda: self._api.healthy(account))

    def _start_scheduler(self) -> None:
        config = self.kubeconfig("system:kube-scheduler")
        settings = self.folder / "scheduler.json"
        settings.write_text(components.scheduler_config(config, self._options.limits))
        name = "kube-scheduler"
        argv = components.scheduler(self._programs[name], settings, config, self._scheduler_port)
        daemon = self._run(name, argv)
        self._await(daemon, "the scheduler's port", lambda: listens(_LOOPBACK, self._scheduler_port))

    def _start_kwok(self, nodes: Nodes) -> None:
        config = self.kubeconfig("kwok", ["system:masters"])
        for index in range(nodes.count):
            self._api.create("/api/v1/nodes", node_object(f"node-{index}", nodes))
        daemon = self._run("kwok", components.kwok(self._programs["kwok"], config, STAGES, self._kwok_port))
        self._await(daemon, f"{nodes.count} ready nodes", lambda: self._ready_nodes() >= nodes.count)

    def _ready_nodes(self) -> int:
        conditions = (node["status"].get("conditions", []) for node in self._api.get("/api/v1/nodes")["items"])
        return sum(any(c["type"] == "Ready" and c["status"] == "True" for c in each) for each in conditions)

    def _access(self, user: str, groups: Sequence[str]) -> Access:
        pair = pki.issue(self._ca, self.folder / "users", _file_name(user, groups), user=user, groups=groups)
        return Access(self.url, self._ca.cert, pair)

    def _run(self, name: str, argv: list[str]) -> Daemon:
        daemon = Daemon(name, argv, self.log(name), self.folder / "run" / f"{name}.pid")
        self._daemons[name] = daemon
        processes.start(daemon)
        return daemon

    def _stop(self, name: str, grace: float) -> None:
        if not processes.stop(self.folder / "run" / f"{name}.pid", grace=grace):
            raise DevError(f"{name} is not running")

    def _await(self, daemon: Daemon, what: str, ready: Callable[[], bool]) -> None:
        processes.wait_until(ready, what, timeout=self._options.seconds, daemons=[daemon])


def sweep() -> int:
    """Ends and removes the control planes whose owner was killed before it could; returns how many there were."""
    stale = [
        folder
        for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*")
        if (folder / "owner.pid").exists() and processes.running_pid(folder / "owner.pid") is None
    ]
    for folder in stale:
        _remove(folder)
    return len(stale)


def _remove(folder: Path) -> None:
    for pid_file in sorted((folder / "run").glob("*.pid")):
        processes.stop(pid_file, grace=0)
    shutil.rmtree(folder, ignore_errors=True)


def _programs(options: Options) -> list[str]:
    optional = {
        "kube-controller-manager": options.controller_manager,
        "kube-scheduler": options.scheduler,
        "kwok": options.kwok is not None,
    }
    return ["kube-apiserver", "etcd", *(name for name, wanted in optional.items() if wanted)]


def _file_name(user: str, groups: Sequence[str]) -> str:
    return "".join(char if char.isalnum() or char in ".-" else "_" for char in "+".join([user, *groups]))
