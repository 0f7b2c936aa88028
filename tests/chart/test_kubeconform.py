"""kubeconform over every rendering, offline, with the schemas that the real API server publishes."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dev.cluster import binaries
from dev.cluster.controlplane import ControlPlane
from tests.chart.conftest import VALUES, Render, Run

FOREIGN = "ServiceMonitor,PodMonitor"


def _strict(node: Any) -> Any:
    """Close every object whose fields are known, and let numbers be where Kubernetes takes both."""
    if isinstance(node, list):
        return [_strict(item) for item in node]
    if not isinstance(node, dict):
        return node
    made = {key: _strict(value) for key, value in node.items()}
    if made.get("format") == "int-or-string":
        return {"type": ["integer", "string"]}
    if (
        isinstance(made.get("properties"), dict)
        and "type" in made
        and "x-kubernetes-preserve-unknown-fields" not in made
    ):
        made.setdefault("additionalProperties", False)
    return made


@pytest.fixture(scope="module")
def schemas(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("schemas")
    definitions = _strict(plane.api().get("/openapi/v2")["definitions"])
    (folder / "all.json").write_text(json.dumps({"definitions": definitions}))
    for name, definition in definitions.items():
        for kind in definition.get("x-kubernetes-group-version-kind", ()):
            group = f"{kind['group'].split('.')[0]}-" if kind["group"] else ""
            file = folder / f"{kind['kind'].lower()}-{group}{kind['version']}.json"
            file.write_text(json.dumps({"$ref": f"all.json#/definitions/{name}"}))
    return folder


@pytest.fixture(scope="module")
def kubeconform(schemas: Path) -> Run:
    program = binaries.ensure("kubeconform")

    def run(manifests: str) -> subprocess.CompletedProcess[str]:
        location = f"{schemas}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
        argv = [str(program), "-strict", "-summary", "-skip", FOREIGN, "-schema-location", location]
        return subprocess.run(argv, input=manifests, capture_output=True, text=True, timeout=60, check=False)

    return run


@pytest.mark.parametrize("values", VALUES)
def test_every_manifest_conforms(render: Render, kubeconform: Run, values: str) -> None:
    found = render(values)
    done = kubeconform(found.text)
    foreign = sum(entry["kind"] in FOREIGN.split(",") for entry in found.objects)
    assert f"Valid: {len(found.objects) - foreign}, Invalid: 0, Errors: 0, Skipped: {foreign}" in done.stdout
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("old", "new"), [("replicas: 1", "replicas: one"), ("replicas: 1", "replica: 1"), ("maxSurge: 1", "maxSurge: []")]
)
def test_a_mistake_is_found(render: Render, kubeconform: Run, old: str, new: str) -> None:
    text = render().text
    assert old in text
    done = kubeconform(text.replace(old, new))
    assert done.returncode == 1
    assert "Invalid: 1" in done.stdout
