"""The chart as a dependency of another one: condition, tags, global values, aliases, names, and values left out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway import settings
from tests.chart.conftest import CHART, NAMESPACE, Manifest, Rendered, Run

VERSION = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
CLUSTER_WIDE = ("ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition")
Parent = Callable[..., Rendered]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "platform"


@pytest.fixture
def parent(helm: Run, folder: Path) -> Parent:
    """Render a chart that depends on this one, once for each of `dependencies`, with its own values.yaml."""

    def run(values: Manifest, *settings: str, dependencies: tuple[Manifest, ...] = ({},)) -> Rendered:
        (folder / "templates").mkdir(parents=True, exist_ok=True)
        entries = [
            {"name": "slipway", "version": VERSION, "repository": f"file://{CHART}", **more} for more in dependencies
        ]
        chart = {"apiVersion": "v2", "name": "platform", "version": "1.2.3", "dependencies": entries}
        (folder / "Chart.yaml").write_text(yaml.safe_dump(chart))
        (folder / "values.yaml").write_text(yaml.safe_dump(values))
        helm("dependency", "update", folder)
        sets = [part for setting in settings for part in ("--set", setting)]
        lint = helm("lint", "--strict", "--quiet", folder, *sets, check=False).stdout
        assert "values don't meet" not in lint
        return Rendered(helm("template", "prod", folder, "--namespace", NAMESPACE, "--skip-tests", *sets).stdout)

    return run


def operators(found: Rendered) -> list[settings.Settings]:
    """What each operator is told to do."""
    deployments = found.kind("Deployment")
    return [settings.parse(entry["spec"]["template"]["spec"]["containers"][0]["args"], {}) for entry in deployments]


def identities(found: Rendered) -> list[tuple[Any, ...]]:
    return [(entry["kind"], entry["metadata"].get("namespace"), entry["metadata"]["name"]) for entry in found.objects]


@pytest.mark.parametrize(("enabled", "count"), [(True, 1), (False, 0)])
def test_a_condition(parent: Parent, enabled: bool, count: int) -> None:  # noqa: FBT001
    found = parent({"slipway": {"enabled": enabled}}, dependencies=({"condition": "slipway.enabled"},))
    assert len(found.kind("Deployment")) == count
    assert len(found.kind("CustomResourceDefinition")) == count


def test_a_condition_at_the_command_line(parent: Parent) -> None:
    condition = ({"condition": "slipway.enabled"},)
    assert parent({}, "slipway.enabled=true", dependencies=condition).kind("Deployment")
    assert not parent({}, "slipway.enabled=false", dependencies=condition).objects


def test_tags_and_global_values(parent: Parent) -> None:
    values = {"tags": {"models": True}, "global": {"imageRegistry": "registry.example", "slipway": {"on": True}}}
    tagged = ({"tags": ["models"]},)
    assert parent(values, dependencies=tagged).kind("Deployment")
    assert not parent(values, "tags.models=false", dependencies=tagged).objects
    assert parent(values, dependencies=({"condition": "global.slipway.on"},)).kind("Deployment")


def test_objects_are_named_after_the_release_and_the_chart(parent: Parent) -> None:
    found = parent({})
    assert found.one("Deployment")["metadata"]["name"] == "prod-slipway"
    assert found.one("Deployment")["metadata"]["labels"]["helm.sh/chart"] == f"slipway-{VERSION}"
    assert [chosen.leader_election_id for chosen in operators(found)] == ["prod-slipway-operator"]


@pytest.mark.parametrize(
    ("override", "name"), [({"nameOverride": "models"}, "prod-models"), ({"fullnameOverride": "serving"}, "serving")]
)
def test_names_can_be_overridden(parent: Parent, override: Manifest, name: str) -> None:
    found = parent({"slipway": override})
    assert {entry["metadata"]["name"] for entry in found.kind("Deployment") + found.kind("Service")} == {name}


def test_two_operators_under_aliases_share_nothing_but_the_definition(parent: Parent) -> None:
    aliases = ({"alias": "vision"}, {"alias": "speech", "condition": "speech.enabled"})
    values = {
        "vision": {"watch": {"namespaces": ["team-a"]}},
        "speech": {"watch": {"namespaces": ["team-b"]}, "crds": {"install": False}, "enabled": True},
    }
    found = parent(values, dependencies=aliases)
    assert len(set(identities(found))) == len(found.objects)
    assert len(found.kind("CustomResourceDefinition")) == 1
    assert [chosen.namespaces for chosen in operators(found)] in (
        [("team-a",), ("team-b",)],
        [("team-b",), ("team-a",)],
    )
    assert len({chosen.leader_election_id for chosen in operators(found)}) == 2
    selectors = [entry["spec"]["selector"]["matchLabels"] for entry in found.kind("Deployment")]
    for service in found.kind("Service"):
        selected = service["spec"]["selector"]
        assert sum(selected.items() <= selector.items() for selector in selectors) == 1


def test_an_alias_need_not_be_a_name_of_kubernetes(parent: Parent) -> None:
    found = parent({}, dependencies=({"alias": "Model_Serving"},))
    assert found.one("Service")["metadata"]["name"] == "prod-model-serving"
    assert all(entry["metadata"]["name"].islower() for entry in found.objects)


def test_what_a_parents_values_leave_out_is_left_out(parent: Parent) -> None:
    """With an empty text: Helm does not take a null in a parent's values.yaml for the removal of a dependency's default."""
    pods = {"runAsUser": "", "runAsGroup": "", "fsGroup": ""}
    (chosen,) = operators(parent({"slipway": {"modelPods": pods}}))
    assert (chosen.pod_run_as_user, chosen.pod_run_as_group, chosen.pod_fs_group) == (None, None, None)


def test_a_typo_in_a_parents_values_is_refused(parent: Parent) -> None:
    with pytest.raises(AssertionError, match="replicaCounts"):
        parent({"slipway": {"replicaCounts": 2}})


def test_a_dependency_is_accepted_by_the_api_server(parent: Parent, kubectl: Run) -> None:
    found = parent({"slipway": {"enabled": True}}, dependencies=({"condition": "slipway.enabled"},))
    body = yaml.safe_dump_all(found.objects)
    done = kubectl("apply", "--dry-run=server", "--validate=strict", "--filename", "-", body=body)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == len(found.objects)
