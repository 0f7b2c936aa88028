"""The cluster of the chaos tests: the definition of ModelDeployments is installed, images and models are there, and no
operator: each test starts its own.
"""

import json
import os
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import yaml

from dev.cluster import pki
from dev.cluster import state as records
from dev.cluster.api_client import Api, ApiError
from dev.cluster.kubeconfig import write as write_kubeconfig
from dev.cluster.nodes.controlplane_node import ControlPlaneNode
from dev.cluster.nodes.network import Network
from dev.cluster.providers.local import Local
from dev.kit import archive_server
from dev.kit.eventually import eventually
from dev.kit.installation import DROP_IN, tool
from dev.kit.kubectl import Kubectl
from dev.kit.local_operator import Operator
from dev.kit.model_namespace import CRD, CRDS, GROUP
from dev.repository import ROOT
from e2e.chaos import models

OPERATOR_FLAGS = (f"--runtime-image={DROP_IN}",)
BUILD = ROOT / "build" / "chaos"
NODES = 2
"""The second one can be lost."""
_number = count(1)


class Ground:
    """One local cluster."""

    def __init__(self, name: str) -> None:
        record = records.load(name)
        assert record is not None, f"the cluster {name} is not up"
        self.name = name
        self.node = ControlPlaneNode(name, Network(record.index), {})
        self.kubectl = Kubectl(tool("kubectl"), Local(name, print).kubeconfig())

    def api(self) -> Api:
        """Return a client with all rights."""
        return self.node.api()

    def kubeconfig(self, user: str, groups: list[str]) -> Path:
        """Return a kubeconfig with a client certificate of this user's own."""
        admin = self.node.admin()
        folder = self.node.places.pki
        authority = pki.Pair(folder / "ca.crt", folder / "ca.key")
        pair = pki.issue(authority, folder, f"client-{user}", user=user, groups=groups)
        file = self.node.places.etc / f"{user}.kubeconfig"
        return write_kubeconfig(file, type(admin)(admin.server, admin.authority, pair), context=self.name, user=user)

    def operator(self, folder: Path, namespace: str, *flags: str, kubeconfig: Path | None = None) -> Operator:
        """Return an operator process for one namespace, not yet started, without election unless `flags` say so."""
        user = f"operator-{namespace}-{next(_number)}"
        config = kubeconfig or self.kubeconfig(user, ["system:masters"])
        chosen = flags or ("--no-leader-elect",)
        return Operator(config, folder, user, f"--namespaces={namespace}", *OPERATOR_FLAGS, *chosen)

    def kill(self, component: str) -> None:
        """End a component of the cluster with SIGKILL; `repair` starts it again."""
        pid_file = self.node.places.run / f"{component}.pid"
        pid = int(pid_file.read_text().split()[0])
        subprocess.run(["kill", "-9", str(pid)], check=True)

    def repair(self) -> None:
        """Start again what does not run, and wait until the node is ready."""
        bring_up(self.name)


def say(line: str) -> None:
    """Print a line of progress, and keep it where it can be read while workers run: build/chaos/progress.log."""
    print(line, flush=True)
    with (BUILD / "progress.log").open("a") as log:
        log.write(f"{time.strftime('%H:%M:%S')} {line}\n")


def bring_up(name: str) -> None:
    """Start the cluster, or what is missing of it."""
    run(
        "dev.cluster",
        "up",
        f"--name={name}",
        f"--nodes={NODES}",
        *(["--install-packages"] if os.geteuid() == 0 else []),
    )


def prepare(name: str, build: Path) -> None:
    """Make the cluster and bring into it what the tests need; what is there already is kept."""
    bring_up(name)
    built = json.loads(run("images.build", "--json"))
    images = [str(image["archive"]) for image in built if image["name"] != "operator"]
    run("dev.cluster", "load", f"--name={name}", *images)
    ground = Ground(name)
    definition = yaml.safe_load(CRD.read_text())
    ground.api().apply(f"{CRDS}/{definition['metadata']['name']}", definition)
    eventually(lambda: _served(ground.api()), "the kind ModelDeployment is served")
    # A pod cannot be changed: one that an older version of the program made would be in the way.
    ground.kubectl.within(archive_server.NAMESPACE).run("delete", "pod", archive_server.NAME, "--ignore-not-found")
    # On the node that no test loses: a bare pod comes back nowhere else.
    archive_server.start(ground.kubectl, models.folder(build), node=f"{name}-node")


def _served(api: Api) -> bool:
    try:
        return api.exists(f"{GROUP}/modeldeployments")
    except ApiError:  # 429 while its storage is being made
        return False


def run(*words: str) -> str:
    """Run a module of the repository; return what it printed."""
    done = subprocess.run([sys.executable, "-m", *words], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
