"""The provider `kind`: a cluster in a container of a Docker daemon that is there already."""

import json
import time
from collections.abc import Sequence
from pathlib import Path

from dev.cluster import binaries, state
from dev.cluster.paths import TOOLS, kubeconfig_path
from dev.cluster.providers.interface import Fact, Say
from dev.cluster.state import Record
from dev.errors import DevError
from dev.shell import run

_CREATE_SECONDS = 900
# The 1.36 image that was built for the pinned kind (its release notes); kind's own default is 1.37.
_NODE_IMAGE = "kindest/node:v1.36.4@sha256:099e049362a1526b2db71494e1947aae99bd16290d7c895f2b7ea312e3cbfaed"
_METRICS = TOOLS / "kind" / "metrics-server.yaml"


class Kind:
    """See the module's text. metrics-server is added, because kind comes without and autoscaling needs it."""

    def __init__(self, name: str, say: Say) -> None:
        self._name, self._say = name, say

    def kubeconfig(self) -> Path:
        """See Provider."""
        return kubeconfig_path(self._name)

    def up(self) -> None:
        """See Provider."""
        started = time.monotonic()
        state.save(self._name, Record("kind"))
        if self._name in self._clusters():
            self._kind("export", "kubeconfig", "--name", self._name, "--kubeconfig", str(self.kubeconfig()))
        else:
            self._say(f"creating the kind cluster {self._name}")
            flags = ["--image", _NODE_IMAGE, "--wait", "120s", "--kubeconfig", str(self.kubeconfig())]
            self._kind("create", "cluster", "--name", self._name, *flags, timeout=_CREATE_SECONDS)
        self._kubectl("apply", "--filename", str(_METRICS))
        self._say(f"the kind cluster {self._name} is ready after {time.monotonic() - started:.0f} s")

    def down(self) -> None:
        """See Provider."""
        if state.load(self._name) is None:
            return
        self._kind("delete", "cluster", "--name", self._name, "--kubeconfig", str(self.kubeconfig()))
        state.forget(self._name)

    def status(self) -> list[Fact]:
        """See Provider."""
        if self._name not in self._clusters():
            return [Fact("kind cluster", good=False, detail=f"Docker knows none called {self._name}")]
        nodes = json.loads(self._kubectl("get", "nodes", "--output", "json"))["items"]
        return [Fact("kind cluster", good=True, detail=self._name), *map(node_fact, nodes)]

    def load(self, images: Sequence[str]) -> None:
        """See Provider."""
        for image in images:
            what = ["image-archive", image] if Path(image).exists() else ["docker-image", image]
            self._kind("load", *what, "--name", self._name, timeout=_CREATE_SECONDS)
            self._say(f"loaded {image}")

    def _clusters(self) -> list[str]:
        return self._kind("get", "clusters").split()

    def _kind(self, *words: str, timeout: float = 120) -> str:
        return run([binaries.ensure("kind", self._say), *words], timeout=timeout)

    def _kubectl(self, *words: str) -> str:
        return run([binaries.ensure("kubectl", self._say), "--kubeconfig", self.kubeconfig(), *words])


def node_fact(node: dict[str, object]) -> Fact:
    """What `status` says about a node as kubectl prints it."""
    try:
        status = node["status"]
        assert isinstance(status, dict)
        ready = next(c["status"] == "True" for c in status["conditions"] if c["type"] == "Ready")
        metadata = node["metadata"]
        assert isinstance(metadata, dict)
    except (KeyError, StopIteration) as error:
        raise DevError(f"a node without conditions: {error}") from error
    return Fact(f"node {metadata['name']}", ready, status["nodeInfo"]["kubeletVersion"])
