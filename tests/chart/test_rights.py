"""The operator's rights: what it does, and nothing else."""

from collections.abc import Iterator

import pytest

from tests.chart.conftest import NAMESPACE, VALUES, Manifest, Render, Rendered

# What the operator sends (slipway.cluster): server-side apply is a patch, and a create where there is nothing yet.
WATCH = {"list", "watch"}
APPLY = WATCH | {"create", "patch"}
OWN = APPLY | {"delete"}
GRANTED = {
    ("serving.slipway.dev", "modeldeployments"): WATCH | {"get"},
    ("serving.slipway.dev", "modeldeployments/status"): {"patch"},
    ("apps", "deployments"): APPLY,
    ("apps", "controllerrevisions"): OWN,
    ("", "configmaps"): WATCH | {"create"},  # neither changed nor deleted: users keep their own in there
    ("autoscaling", "horizontalpodautoscalers"): OWN,
    ("policy", "poddisruptionbudgets"): OWN,
    ("", "services"): APPLY,
    ("", "pods"): WATCH,
    ("events.k8s.io", "events"): {"create", "patch"},
}
LEASE = {("coordination.k8s.io", "leases"): {"create", "get", "update"}}


def granted(role: Manifest) -> dict[tuple[str, str], set[str]]:
    found: dict[tuple[str, str], set[str]] = {}
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                found.setdefault((group, resource), set()).update(rule["verbs"])
    return found


def roles(found: Rendered) -> Iterator[Manifest]:
    yield from found.kind("Role") + found.kind("ClusterRole")


def test_everywhere(render: Render) -> None:
    found = render()
    by_name = {role["metadata"]["name"]: granted(role) for role in roles(found)}
    assert by_name["slipway"] == GRANTED
    assert by_name["slipway-leader"] == LEASE
    assert by_name.keys() == {"slipway", "slipway-leader", "slipway-view", "slipway-edit"}
    (binding,) = found.kind("ClusterRoleBinding")
    assert binding["roleRef"]["name"] == "slipway"
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "slipway", "namespace": NAMESPACE}]


def test_in_some_namespaces_only(render: Render) -> None:
    found = render("namespaced")
    assert "--namespaces=team-a,team-b" in found.operator()["args"]
    assert found.kind("ClusterRole") == found.kind("ClusterRoleBinding") == []
    placed = {(role["metadata"]["namespace"], role["metadata"]["name"]): granted(role) for role in found.kind("Role")}
    assert placed == {
        ("team-a", "slipway"): GRANTED,
        ("team-b", "slipway"): GRANTED,
        (NAMESPACE, "slipway-leader"): LEASE,
    }
    for binding in found.kind("RoleBinding"):
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "slipway", "namespace": NAMESPACE}]
        assert (binding["metadata"]["namespace"], binding["roleRef"]["name"]) in placed


@pytest.mark.parametrize("values", VALUES)
def test_no_wildcard_and_no_secret(render: Render, values: str) -> None:
    for role in roles(render(values)):
        assert role.keys() <= {"apiVersion", "kind", "metadata", "rules"}
        for rule in role["rules"]:
            assert rule.keys() <= {"apiGroups", "resources", "verbs", "resourceNames"}
            words = {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
            assert not any("*" in word for word in words)
            assert not {"secrets", "serviceaccounts", "pods/exec", "bind", "escalate", "impersonate"} & words


def test_the_lease_is_the_only_one_it_may_take(render: Render) -> None:
    (role,) = [role for role in render("everything").kind("Role") if role["metadata"]["name"].endswith("-leader")]
    assert [rule.get("resourceNames") for rule in role["rules"]] == [None, ["elected"]]
    assert role["rules"][0]["verbs"] == ["create"]
    assert [role["metadata"]["name"] for role in render("default", "leaderElection.enabled=false").kind("Role")] == []


def test_users_get_their_rights_by_aggregation(render: Render) -> None:
    found = {role["metadata"]["name"]: role for role in render().kind("ClusterRole")}
    view, edit = found["slipway-view"], found["slipway-edit"]
    assert set().union(*granted(view).values()) == WATCH | {"get"}
    assert "watch" not in set().union(*granted(edit).values())
    assert ("serving.slipway.dev", "modeldeployments/status") not in granted(edit)
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    assert {label for label in edit["metadata"]["labels"] if label.startswith(prefix)} == {
        prefix + "edit",
        prefix + "admin",
    }
    assert not [
        role
        for role in render("default", "rbac.aggregateClusterRoles=false").kind("ClusterRole")
        if role["metadata"]["name"] != "slipway"
    ]


def test_the_token_is_mounted_where_it_is_needed(render: Render) -> None:
    found = render()
    assert found.one("ServiceAccount")["automountServiceAccountToken"] is False
    assert found.one("Deployment")["spec"]["template"]["spec"]["automountServiceAccountToken"] is True
