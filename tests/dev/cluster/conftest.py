"""What the tests on the real thing share: a cluster of their own, kubectl for it, and the image of the probe."""

import os
import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.cluster import binaries
from dev.cluster.nodes.image_archives import program_archive
from dev.cluster.paths import kubeconfig_path
from dev.cluster.providers.local import Local
from dev.shell import run

NAME = "cluster-test"
PROBE = Path(__file__).with_name("probe")


class Cluster:
    """The cluster under test, with the words that tests use."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.provider = Local(NAME, self.said.append)

    def up(self) -> list[str]:
        """Makes or repairs it; returns what was said."""
        self.said.clear()
        self.provider.up()
        return list(self.said)

    def kubectl(self, *words: str, stdin: str | None = None) -> str:
        """Output of kubectl; DevError when it fails."""
        return run([binaries.ensure("kubectl"), "--kubeconfig", kubeconfig_path(NAME), *words], stdin=stdin)


@pytest.fixture(scope="session")
def probe_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image archive of tests/dev/cluster/probe."""
    folder = tmp_path_factory.mktemp("probe")
    build = [binaries.find_go(), "build", "-trimpath", "-ldflags", "-s -w", "-o", str(folder / "probe"), "."]
    subprocess.run(build, cwd=PROBE, env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}, check=True)
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    (folder / "probe.tar").write_bytes(program_archive(folder / "probe", machine, "slipway/probe:1"))
    return folder / "probe.tar"


@pytest.fixture(scope="module")
def cluster(probe_archive: Path) -> Iterator[Cluster]:
    """A local cluster with the probe's image; needs root. It is removed at the end, whatever happened."""
    if os.geteuid() != 0:
        pytest.skip("a local cluster needs root")
    made = Cluster()
    try:
        made.up()
        made.provider.load([str(probe_archive)])
        yield made
    finally:
        made.provider.down()
