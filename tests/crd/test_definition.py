"""The CRD as users see it: established, explained, listed, scaled. Its text is generated and says so when it is stale."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dev.cluster.controlplane import ControlPlane
from dev.generate import crd
from dev.generate.__main__ import main as generate
from slipway.api.base import ApiModel
from slipway.api.rules import excludes, matches
from tests.crd.cases import body
from tests.crd.conftest import COLLECTION, CRD, ROOT, Kubectl


def test_it_is_established_without_complaint(kubectl: Kubectl) -> None:
    found = json.loads(kubectl("get", "crd", "modeldeployments.serving.slipway.dev", "--output", "json").stdout)
    conditions = {entry["type"]: entry["status"] for entry in found["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}  # no NonStructuralSchema
    assert kubectl("api-resources", "--categories", "slipway", "--output", "name").stdout == (
        "modeldeployments.serving.slipway.dev\n"
    )


def test_explain_lists_every_field(kubectl: Kubectl) -> None:
    told = kubectl("explain", "modeldeployment.spec", "--recursive").stdout
    assert "What to serve, and how." in told
    assert re.search(
        r"^  model\t<Object> -required-\n    digest\t<string>\n    uri\t<string> -required-$", told, re.MULTILINE
    )
    assert re.search(r"^    strategy\t<string>\n    enum: Auto, Surge, TerminateFirst$", told, re.MULTILINE)


def test_explain_reads_like_documentation(kubectl: Kubectl) -> None:
    told = " ".join(kubectl("explain", "mdep.spec.model.uri").stdout.split())
    assert "`pvc://CLAIM/PATH` for a folder or an archive in a PersistentVolumeClaim of the same namespace" in told
    told = " ".join(kubectl("explain", "mdep.spec.rollout").stdout.split())
    assert "How a change reaches the pods." in told
    assert "progressDeadline <string> How long a rollout may make no progress" in told
    assert "TensorFlow model in service" in kubectl("explain", "mdep").stdout


STATUS: dict[str, Any] = {
    "observedGeneration": 1,
    "updateRevision": 2,
    "targetRevision": 1,
    "modelVersion": 3,
    "replicas": 4,
    "readyReplicas": 3,
    "selector": "serving.slipway.dev/name=digits",
    "conditions": [
        {
            "type": "Ready",
            "status": "False",
            "reason": "RollingOut",
            "message": "3 of 4 pods answer.",
            "observedGeneration": 1,
            "lastTransitionTime": "2026-11-22T07:00:00Z",
        }
    ],
}


@pytest.fixture
def digits(plane: ControlPlane, kubectl: Kubectl) -> Iterator[str]:
    api, path = plane.api(), f"{COLLECTION}/digits"
    api.create(COLLECTION, body(replicas=4))
    api.patch(f"{path}/status", {"status": STATUS})
    yield path
    api.delete(path)


def test_a_list_shows_what_matters(kubectl: Kubectl, digits: str) -> None:
    header, row = kubectl("get", "mdep").stdout.splitlines()
    assert header.split() == ["NAME", "READY", "REVISION", "TARGET", "REPLICAS", "VERSION", "AGE", "MESSAGE"]
    cells = re.split(r"\s{2,}", row)
    assert cells[:6] == ["digits", "False", "2", "1", "3", "3"]
    assert cells[7] == "3 of 4 pods answer."
    assert "modeldeployment.serving.slipway.dev/digits" in kubectl("get", "slipway", "--output", "name").stdout


def test_scale_is_the_scale_of_the_pods(kubectl: Kubectl, plane: ControlPlane, digits: str) -> None:
    scale = plane.api().get(f"{digits}/scale")
    assert scale["spec"] == {"replicas": 4}
    assert scale["status"] == {"replicas": 4, "selector": "serving.slipway.dev/name=digits"}
    kubectl("scale", "mdep/digits", "--replicas=2")
    assert plane.api().get(digits)["spec"]["replicas"] == 2


def test_the_smallest_resource_can_be_scaled(kubectl: Kubectl, plane: ControlPlane) -> None:
    """An autoscaler reads `/scale` first; kubectl does with --current-replicas."""
    api, path = plane.api(), f"{COLLECTION}/smallest"
    api.create(COLLECTION, body("smallest"))
    assert api.get(f"{path}/scale")["spec"] == {"replicas": 1}
    kubectl("scale", "mdep/smallest", "--current-replicas=1", "--replicas=3")
    assert api.get(f"{path}/scale")["spec"] == {"replicas": 3}
    api.delete(path)


def test_status_is_written_apart(plane: ControlPlane, digits: str) -> None:
    api = plane.api()
    api.patch(digits, {"status": {"updateRevision": 99}})
    assert api.get(digits)["status"]["updateRevision"] == 2
    generation = api.get(digits)["metadata"]["generation"]
    api.patch(f"{digits}/status", {"spec": {"replicas": 9}, "status": {"updateRevision": 5}})
    found = api.get(digits)
    assert (found["spec"]["replicas"], found["status"]["updateRevision"], found["metadata"]["generation"]) == (
        4,
        5,
        generation,
    )


# -- the text


def _nodes(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from _nodes(child, f"{path}.{name}")
    for part in ("items", "additionalProperties"):
        if part in node:
            yield from _nodes(node[part], f"{path}[]")


NODES = dict(_nodes(crd.root_schema()))


def test_the_schema_is_structural() -> None:
    text = json.dumps(crd.definition())
    assert "$ref" not in text
    assert '"title"' not in text
    assert '"null"' not in text
    for path, node in NODES.items():
        assert ("type" in node) != ("x-kubernetes-int-or-string" in node), path
        assert not isinstance(node.get("additionalProperties"), bool), path


def test_every_field_says_what_it_is() -> None:
    silent = [path for path, node in NODES.items() if path.count("[]") == 0 and not node.get("description")]
    assert silent == [".metadata"]


def test_every_list_map_and_text_of_the_spec_is_bounded() -> None:
    """CEL's cost is estimated from the bounds, and etcd keeps the object."""
    bound = {"array": "maxItems", "string": "maxLength"}
    for path, node in NODES.items():
        if path.startswith(".spec") and node.get("type") in bound and not {"enum", "pattern"} & node.keys():
            assert bound[node["type"]] in node, path
        if path.startswith(".spec") and "additionalProperties" in node:
            assert "maxProperties" in node, path


def test_every_rule_names_its_field_and_the_fix() -> None:
    rules = [rule for node in NODES.values() for rule in node.get("x-kubernetes-validations", ())]
    assert len(rules) >= 12
    for rule in rules:
        assert rule["message"].startswith(("spec.", "metadata.name")), rule


def test_no_field_names_a_namespace() -> None:
    assert [path for path in NODES if path.startswith(".spec") and "namespace" in path.lower()] == []


def test_the_file_is_what_the_types_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert generate(["crd", "--check"]) == 0
    stale = tmp_path / "crd.yaml"
    stale.write_text(CRD.read_text().replace("maxItems: 32", "maxItems: 33"))
    monkeypatch.setattr(crd, "FILE", tmp_path / "missing.yaml")
    assert generate(["crd", "--check"]) == 1
    monkeypatch.setattr(crd, "FILE", stale)
    assert generate(["crd", "--check"]) == 1
    assert generate(["crd"]) == 0
    assert stale.read_text() == CRD.read_text()


def test_the_text_does_not_depend_on_the_process() -> None:
    command = [sys.executable, "-c", "from dev.generate import crd; print(crd.manifest(), end='')"]
    texts = {
        subprocess.run(
            command,
            env={"PYTHONPATH": f"{ROOT / 'operator'}:{ROOT}", "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert texts == {CRD.read_text()}


def test_the_operator_needs_no_yaml() -> None:
    """PyYAML is not in the operator's image."""
    code = "import sys, slipway.api; sys.exit('yaml' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT / "operator")}, check=True)


def test_alternatives_are_refused() -> None:
    class Loose(ApiModel):
        either: int | str = 1
        """Either."""

    with pytest.raises(ValueError, match="no room for alternatives"):
        crd.model_schema(Loose)


def test_a_pattern_survives_its_way_into_cel() -> None:
    """A pattern goes into a CEL string literal; reading it back gives the pattern."""
    for pattern in (r"^.{1,52}$", r"^[a-z]([-a-z0-9]*[a-z0-9])?$", r"^\d+ of '\\'\.$"):
        for rule in (matches(pattern, "", of="self.metadata.name"), excludes(pattern, "", of="self.metadata.name")):
            literal = re.fullmatch(r"!?self\.metadata\.name\.matches\((.*)\)", rule.schema()["rule"])
            assert literal is not None
            assert ast.literal_eval(literal.group(1)) == pattern
