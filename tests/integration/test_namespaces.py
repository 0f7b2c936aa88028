"""A list of namespaces: one that is gone, forbidden or on its way out never takes the others along."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from dev.cluster.controlplane import ControlPlane, Options
from dev.kit.eventually import eventually
from dev.kit.fault_proxy import Fault, FaultProxy, Kind
from dev.kit.local_operator import Operator
from tests.integration.conftest import install_crd
from tests.integration.world import World

ROLES = "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles"
BINDINGS = "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings"
EVERYTHING = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
WITHOUT_WATCH = EVERYTHING | {"verbs": ["create", "delete", "get", "list", "patch"]}
_number = count(1)


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    """A control plane that deletes what is in a deleted namespace."""
    with ControlPlane(Options(controller_manager=True, audit=True, seconds=180)) as made:
        install_crd(made)
        yield made


class Pair:
    """Two namespaces and the account of an operator; `kept` exists and grants it all rights."""

    def __init__(self, plane: ControlPlane) -> None:
        number = next(_number)
        self.user = f"limited-{number}"
        self.plane = plane
        self.kept = World(plane, f"kept-{number}")
        self.other = f"other-{number}"
        self.grant(self.kept.namespace)

    def grant(self, namespace: str, rules: dict[str, list[str]] = EVERYTHING) -> None:
        """Give the account rights in a namespace, as the chart does."""
        api, reference = self.plane.api(), {"apiGroup": "rbac.authorization.k8s.io"}
        role = {"metadata": {"name": "slipway"}, "rules": [rules]}
        if not api.create(ROLES.format(namespace), role):
            api.patch(f"{ROLES.format(namespace)}/slipway", {"rules": [rules]})
        subjects = [reference | {"kind": "User", "name": self.user}]
        binding = {"roleRef": reference | {"kind": "Role", "name": "slipway"}, "subjects": subjects}
        api.create(BINDINGS.format(namespace), {"metadata": {"name": "slipway"}} | binding)

    def revoke(self, namespace: str) -> None:
        self.plane.api().delete(f"{BINDINGS.format(namespace)}/slipway")

    def delete(self, namespace: str) -> None:
        """Delete a namespace, and wait until it is gone."""
        path = f"/api/v1/namespaces/{namespace}"
        self.plane.api().delete(path)
        eventually(lambda: not self.plane.api().exists(path), f"{namespace} is gone", 120)


@pytest.fixture
def pair(plane: ControlPlane) -> Pair:
    return Pair(plane)


@pytest.fixture
def start(pair: Pair, tmp_path: Path) -> Iterator[Callable[..., Operator]]:
    """Start operators of both namespaces, one after the other, with leader election in the one that stays."""
    started: list[Operator] = []

    def begin(kubeconfig: Path | None = None) -> Operator:
        both = f"--namespaces={pair.other},{pair.kept.namespace}"
        flags = (both, f"--leader-election-namespace={pair.kept.namespace}")
        started.append(Operator(kubeconfig or pair.plane.kubeconfig(pair.user, []), tmp_path, pair.user, *flags))
        return started[-1].start()

    yield begin
    for operator in started:
        operator.kill()


def reconciled(world: World, name: str) -> None:
    """Wait for the children and the status; pods never become ready here."""
    eventually(lambda: world.find("Deployment", name), f"Deployment {name}")
    eventually(lambda: world.status(name).get("updateRevision"), f"a revision of {name}")


def watched(operator: Operator, namespace: str) -> float:
    return operator.metrics()[f'slipway_namespace_watched{{namespace="{namespace}"}}']


def ages(operator: Operator, namespace: str) -> list[float]:
    found = operator.metrics().items()
    return [value for name, value in found if name.startswith("slipway_watch_age") and f'"{namespace}"' in name]


def series(operator: Operator, namespace: str) -> list[str]:
    return [name for name in operator.metrics() if name.startswith("slipway_model") and f'"{namespace}"' in name]


def test_a_namespace_that_does_not_exist_is_reported_and_picked_up_when_it_is_made(
    pair: Pair, start: Callable[..., Operator]
) -> None:
    operator = start()
    pair.kept.create("digits")
    reconciled(pair.kept, "digits")
    assert watched(operator, pair.kept.namespace) == 1
    assert watched(operator, pair.other) == 0
    assert ages(operator, pair.other) == [], "an alert on silent watches would fire for ever"
    assert len(ages(operator, pair.kept.namespace)) == 7
    assert operator.log().count(f"namespace {pair.other} cannot be watched: ") == 1
    assert "APIForbiddenError" not in operator.log(), "one report is enough"
    made = World(pair.plane, pair.other)
    made.create("early")
    pair.grant(pair.other)
    eventually(lambda: watched(operator, pair.other) == 1, "it is picked up", 90)
    reconciled(made, "early")
    made.create("late")
    reconciled(made, "late")
    assert f"namespace {pair.other} is watched again" in operator.log()
    assert len(ages(operator, pair.other)) == 7
    restarts = operator.metrics()
    assert not any("ModelDeployment" in name for name in restarts if name.startswith("slipway_watch_restarts"))


def test_a_namespace_is_deleted_the_operator_restarted_and_the_namespace_made_anew(
    pair: Pair, start: Callable[..., Operator]
) -> None:
    first = World(pair.plane, pair.other)
    pair.grant(pair.other)
    operator = start()
    pair.kept.create("digits")
    for number in range(3):
        first.create(f"digits-{number}")
        reconciled(first, f"digits-{number}")
    pair.delete(pair.other)
    assert operator.stop() == 0
    assert "was not written" not in operator.log(), "nobody could read an Event there"
    assert "ApplyFailed" not in operator.log()
    operator = start()
    reconciled(pair.kept, "digits")
    assert (watched(operator, pair.kept.namespace), watched(operator, pair.other)) == (1, 0)
    again = World(pair.plane, pair.other)
    pair.grant(pair.other)
    again.create("digits")
    eventually(lambda: watched(operator, pair.other) == 1, "it is picked up", 90)
    reconciled(again, "digits")


def test_rights_that_go_and_come_back_while_it_runs(pair: Pair, start: Callable[..., Operator], tmp_path: Path) -> None:
    """Watches that are open live on without rights, so they are broken here, as their end does after some minutes."""
    other = World(pair.plane, pair.other)
    pair.grant(pair.other)
    with FaultProxy(pair.plane.kubeconfig(pair.user, []), tmp_path) as proxy:
        operator = start(proxy.kubeconfig)
        for world in (pair.kept, other):
            world.create("stays")
            reconciled(world, "stays")
        other.create("goes")
        reconciled(other, "goes")
        pair.revoke(pair.other)
        rule = proxy.add(Fault(Kind.WATCH_ERROR, status=410, message="too old resource version"), verbs={"watch"})
        eventually(lambda: rule.hits >= 16, "every watch has ended")
        proxy.clear()
        eventually(lambda: watched(operator, pair.other) == 0, "it is noticed", 90)
        assert series(operator, pair.other) == [], "they would be the last ones for ever"
        assert len(series(operator, pair.kept.namespace)) > 0
        assert operator.probe("/readyz") == operator.probe("/healthz") == 200
        other.api.delete(other.path("ModelDeployment", "goes"))
        other.create("new")
        pair.kept.create("meanwhile")
        reconciled(pair.kept, "meanwhile")
        pair.grant(pair.other)
        eventually(lambda: watched(operator, pair.other) == 1, "it is picked up", 90)
        reconciled(other, "new")
        eventually(lambda: any('name="stays"' in name for name in series(operator, pair.other)), "it is exported again")
        assert not any('name="goes"' in name for name in series(operator, pair.other)), "its deletion was found"


def test_a_namespace_without_the_right_to_watch_is_lost_like_one_without_any(
    pair: Pair, start: Callable[..., Operator]
) -> None:
    World(pair.plane, pair.other)
    pair.grant(pair.other, WITHOUT_WATCH)
    operator = start()
    eventually(lambda: watched(operator, pair.other) == 0, "it is noticed", 90)
    pair.kept.create("digits")
    reconciled(pair.kept, "digits")
    pair.grant(pair.other)
    eventually(lambda: watched(operator, pair.other) == 1, "it is picked up", 90)
