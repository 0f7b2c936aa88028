"""The chart as Helm renders it, and a real API server to show it to."""

import functools
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.cluster import binaries
from dev.cluster.controlplane import ControlPlane, Options

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "slipway"
VALUES = {path.name.removesuffix("-values.yaml"): path for path in sorted((CHART / "ci").glob("*-values.yaml"))}
NAMESPACE = "slipway-system"

Manifest = dict[str, Any]
Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """helm with folders of its own; no repository of the user takes part."""
    program, home = binaries.ensure("helm"), tmp_path_factory.mktemp("helm")
    env = {"HOME": str(home), "PATH": "/usr/bin:/bin"}

    def run(*arguments: str | Path, check: bool = True) -> Done:
        argv = [str(program), *map(str, arguments)]
        done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0 or not check, done.stderr
        return done

    return run


class Rendered:
    """The objects of one rendering."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.objects: list[Manifest] = [found for found in yaml.safe_load_all(text) if found]

    def kind(self, kind: str) -> list[Manifest]:
        return [found for found in self.objects if found["kind"] == kind]

    def one(self, kind: str) -> Manifest:
        (found,) = self.kind(kind)
        return found

    def operator(self) -> Manifest:
        """The operator's container."""
        (container,) = self.one("Deployment")["spec"]["template"]["spec"]["containers"]
        found: Manifest = container
        return found


Render = Callable[..., Rendered]


@pytest.fixture(scope="session")
def render(helm: Run) -> Render:
    """Render the chart with one of the files of ci/ and `--set` of the given values; once for each combination."""

    @functools.cache
    def run(values: str = "default", *settings: str, release: str = "slipway") -> Rendered:
        sets = [part for setting in settings for part in ("--set", setting)]
        done = helm(
            "template", release, CHART, "--namespace", NAMESPACE, "--values", VALUES[values], "--skip-tests", *sets
        )
        return Rendered(done.stdout)

    return run


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    """An API server with the namespaces that the values files name, all of them restricted."""
    with ControlPlane(Options(audit=True)) as running:
        labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
        for name in (NAMESPACE, "team-a", "team-b", "elsewhere", "installed"):
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
            running.api().create("/api/v1/namespaces", body)
        yield running


@pytest.fixture(scope="session")
def kubectl(plane: ControlPlane) -> Run:
    """kubectl with all rights, or those of `kubeconfig`; `body` is what it reads from standard input."""
    program = binaries.ensure("kubectl")

    def run(*arguments: str, body: str | None = None, check: bool = True, kubeconfig: Path | None = None) -> Done:
        argv = [str(program), "--kubeconfig", str(kubeconfig or plane.kubeconfig()), *arguments]
        done = subprocess.run(argv, input=body, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0 or not check, done.stderr
        return done

    return run


def as_list(objects: list[Manifest]) -> str:
    """What `kubectl apply --filename -` reads."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
