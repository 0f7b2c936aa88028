"""Every ModelDeployment that somebody may copy (examples, pages, notes of the chart) is admitted as it is written."""

import re
import textwrap
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from dev.cluster.controlplane import ControlPlane
from slipway.api import KIND
from tests.crd.cases import DIGEST, parse
from tests.crd.conftest import COLLECTION, ROOT, Kubectl


def _texts() -> Iterator[tuple[str, str]]:
    for path in sorted(ROOT.glob("examples/*.yaml")) + sorted(ROOT.glob("tests/golden/*/input.yaml")):
        yield str(path.relative_to(ROOT)), path.read_text()
    for path in [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("examples/*.md"))]:
        for number, block in enumerate(re.findall(r"^```ya?ml\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)):
            yield f"{path.relative_to(ROOT)}[{number}]", block
    notes = (ROOT / "charts/slipway/templates/NOTES.txt").read_text()
    for block in re.findall(r"<<EOF\n(.*?)^  EOF$", notes, re.MULTILINE | re.DOTALL):
        yield "NOTES.txt", textwrap.dedent(block)


def _bodies() -> dict[str, Any]:
    found = {}
    for name, text in _texts():
        whole = text.replace("sha256:…", DIGEST)  # the one thing that pages may shorten
        for number, body in enumerate(yaml.safe_load_all(whole)):
            if isinstance(body, dict) and body.get("kind") == KIND and "spec" in body:
                found[f"{name}#{number}"] = body
    return found


BODIES = _bodies()


def test_they_were_found() -> None:
    names = " ".join(BODIES)
    assert len(BODIES) >= 9
    assert "examples/digits.yaml" in names
    assert "NOTES.txt" in names


@pytest.mark.parametrize("name", BODIES)
def test_it_is_admitted(name: str, plane: ControlPlane, kubectl: Kubectl) -> None:
    body = {**BODIES[name], "metadata": {**BODIES[name]["metadata"], "namespace": "default"}}
    body["metadata"] = {key: body["metadata"][key] for key in ("name", "namespace")}
    body.pop("status", None)
    plane.api().create(f"{COLLECTION}?dryRun=All&fieldValidation=Strict", body)
    parse(body)
