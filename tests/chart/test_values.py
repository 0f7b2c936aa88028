"""values.yaml, its schema and the table in the README: one source, and a typo is refused."""

import json
import re
from pathlib import Path

import pytest
import yaml

from dev.generate import chart
from dev.generate.__main__ import main as generate
from tests.chart.conftest import CHART, VALUES, Render, Run

TEXT = (CHART / "values.yaml").read_text()


def test_generated_files_are_up_to_date() -> None:
    assert generate(["chart", "--check"]) == 0


def test_check_finds_a_stale_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "values.schema.json"
    copy.write_text((CHART / "values.schema.json").read_text().replace('"minimum": 1', '"minimum": 0'))
    monkeypatch.setattr(chart, "SCHEMA_FILE", copy)
    assert generate(["chart", "--check"]) == 1
    assert "values.schema.json is out of date: run `make generate`" in capsys.readouterr().err
    assert generate(["chart"]) == 0
    assert copy.read_text() == (CHART / "values.schema.json").read_text()


@pytest.mark.parametrize("values", VALUES)
def test_lint_has_nothing_to_say(helm: Run, values: str) -> None:
    said = helm("lint", "--strict", CHART, "--values", VALUES[values]).stdout
    assert "[WARNING]" not in said
    assert "[ERROR]" not in said


REFUSED = {
    "replicaCounts=2": "replicaCounts",
    "image.repositry=me": "repositry",
    "watch.namespace=a": "namespace",
    "crds.enabled=false": "enabled",
    "enabled=perhaps": "enabled",
    "modelPods.runAsUser=nobody": "runAsUser",
    "modelPods.runAsUser=0": "runAsUser",
    "modelPods.fetchResources.limit.cpu=1": "limit",
    "modelPods.caBundle.key=a/b": "key",
    "replicaCount=0": "replicaCount",
    "replicaCount=two": "replicaCount",
    "image.pullPolicy=Sometimes": "pullPolicy",
    "image.digest=latest": "digest",
    "runtime.version=latest": "version",
    "log.level=loud": "level",
    "watch.namespaces=team-a": "namespaces",
    "watch.namespaces[0]=Team_A": "namespaces",
    "networkPolicy.apiServerPorts[0]=99999": "apiServerPorts",
    "podLabels.a=1": "podLabels",
    "resources.request.cpu=1": "request",
}


@pytest.mark.parametrize("setting", REFUSED)
def test_schema_refuses(helm: Run, setting: str) -> None:
    done = helm("template", "slipway", CHART, "--set", setting, check=False)
    assert done.returncode != 0
    assert REFUSED[setting] in done.stderr
    assert "values.schema.json" in done.stderr or "schema" in done.stderr


def test_schema_knows_every_value_and_no_other() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())

    def closed(node: dict[str, object]) -> bool:
        return node.get("additionalProperties") is False

    assert closed(schema)
    defaults = yaml.safe_load(TEXT)
    assert schema["properties"].keys() - {"global", "enabled"} == defaults.keys()
    for name, node in schema["properties"].items():
        if "description" not in node:  # a group of values
            assert closed(node), name
            assert node["properties"].keys() == defaults[name].keys()


def test_every_value_is_used() -> None:
    templates = "".join(path.read_text() for path in (CHART / "templates").rglob("*") if path.is_file())
    for value in chart._leaves(chart.values(TEXT)):
        parts = value.key.split(".")
        used = [f".Values.{value.key}", f".Values.{'.'.join(parts[:-1])} " if len(parts) > 1 else ""]
        image = parts[-1] in ("repository", "tag", "digest") and f".Values.{'.'.join(parts[:-1])} .Chart" in templates
        assert used[0] in templates or image, value.key


def test_a_value_without_a_word_is_refused() -> None:
    with pytest.raises(ValueError, match="silent has no `# --` comment"):
        chart.values("silent: 1\n")
    with pytest.raises(ValueError, match="open needs a `# @schema` line"):
        chart.values("# -- Anything.\nopen: {}\n")
    with pytest.raises(ValueError, match="not a map"):
        chart.values("- 1\n")


def test_the_table_lists_every_value_with_its_default() -> None:
    text = (CHART / "README.md").read_text()
    rows = dict(re.findall(r"^\| `([^`]+)` \| `([^`]+)` \|", text, re.MULTILINE))
    assert rows == {
        value.key: json.dumps(value.default, ensure_ascii=False) for value in chart._leaves(chart.values(TEXT))
    }
    assert rows["runtime.image.repository"] == '"tensorflow/serving"'


def test_a_readme_without_a_place_for_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="has no lines"):
        chart.readme("# Slipway\n", ())


def test_two_operators_need_an_election(render: Render, helm: Run) -> None:
    done = helm("template", "s", CHART, "--set", "replicaCount=2,leaderElection.enabled=false", check=False)
    assert "replicaCount above 1 needs leaderElection.enabled" in done.stderr
