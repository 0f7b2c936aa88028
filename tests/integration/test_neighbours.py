"""Names that somebody else holds, and resources that nobody can carry out: status where the user looks, nobody else hurt."""

import threading
from typing import Any

from tests.integration.world import Operator, World, eventually

FOREIGN_SELECTOR = {"app": "foreign"}


def foreign_deployment(name: str) -> dict[str, Any]:
    pod = {"metadata": {"labels": FOREIGN_SELECTOR}, "spec": {"containers": [{"name": "c", "image": "foreign:1"}]}}
    return {
        "metadata": {"name": name},
        "spec": {"replicas": 1, "selector": {"matchLabels": FOREIGN_SELECTOR}, "template": pod},
    }


def test_a_foreign_service_is_told_and_left_alone(shared: tuple[World, Operator]) -> None:
    world, operator = shared
    service = {"metadata": {"name": "taken"}, "spec": {"selector": FOREIGN_SELECTOR, "ports": [{"port": 80}]}}
    assert world.api.create(world.path("Service"), service)
    before = world.get("Service", "taken")
    world.create("taken")
    ready = eventually(lambda: (found := world.condition("taken")).get("reason") == "NameConflict" and found, "status")
    assert ready["status"] == "False"
    assert "Service" in ready["message"]
    assert "taken" in ready["message"]
    assert world.get("Service", "taken") == before
    assert operator.alive()
    assert world.api.delete(world.path("Service", "taken"))
    eventually(lambda: world.find("Service", "taken"), "when it is gone the name is taken up")
    world.settle("taken")


def test_a_foreign_service_without_a_selector_is_left_alone_too(shared: tuple[World, Operator]) -> None:
    """Nothing in it conflicts with what would be applied; it must be neither taken over nor deleted with the resource."""
    world, _ = shared
    service = {"metadata": {"name": "bare"}, "spec": {"ports": [{"name": "other", "port": 99}]}}
    assert world.api.create(world.path("Service"), service)
    before = world.get("Service", "bare")
    world.create("bare")
    status = eventually(lambda: (found := world.condition("bare")).get("reason") == "NameConflict" and found, "status")
    assert "Service bare could not be applied: somebody else's object has this name" in status["message"]
    assert "give this ModelDeployment another name" in status["message"]
    assert world.get("Service", "bare") == before


def test_a_foreign_deployment_gets_none_of_our_children(shared: tuple[World, Operator]) -> None:
    world, _ = shared
    assert world.api.create(world.path("Deployment"), foreign_deployment("busy"))
    before = world.get("Deployment", "busy")
    world.create("busy", autoscaling={"minReplicas": 1, "maxReplicas": 3})
    eventually(lambda: world.condition("busy").get("reason") == "NameConflict", "status")
    assert world.get("Deployment", "busy") == before
    assert world.find("HorizontalPodAutoscaler", "busy") is None, "it would scale somebody else's pods"


def test_two_resources_want_one_name(shared: tuple[World, Operator]) -> None:
    """`twin` has a Service `twin-headless`; so would a ModelDeployment of that name."""
    world, _ = shared
    world.create("twin")
    world.settle("twin")
    before = world.get("Service", "twin-headless")
    world.create("twin-headless")
    status = eventually(
        lambda: (found := world.condition("twin-headless")).get("reason") == "NameConflict" and found, "status"
    )
    assert "twin-headless" in status["message"]
    after = world.get("Service", "twin-headless")
    assert after["metadata"]["ownerReferences"] == before["metadata"]["ownerReferences"]
    assert after["spec"] == before["spec"]
    assert world.is_ready("twin"), "the first one goes on serving"


def test_a_quota_is_told_in_the_servers_words(shared: tuple[World, Operator]) -> None:
    world, _ = shared
    quotas = f"/api/v1/namespaces/{world.namespace}/resourcequotas"
    hard = {"count/deployments.apps": "0"}
    assert world.api.create(quotas, {"metadata": {"name": "none"}, "spec": {"hard": hard}})
    world.api.patch(f"{quotas}/none/status", {"status": {"hard": hard, "used": hard}})
    try:
        world.create("poor")
        status = eventually(lambda: (found := world.condition("poor")).get("reason") == "QuotaExceeded" and found, "status")
        assert "exceeded quota: none" in status["message"]
    finally:
        world.api.delete(f"{quotas}/none")
    eventually(lambda: world.find("Deployment", "poor"), "with the quota gone it goes on")


def test_an_event_tells_of_trouble_once(shared: tuple[World, Operator]) -> None:
    world, _ = shared
    service = {"metadata": {"name": "loud"}, "spec": {"selector": FOREIGN_SELECTOR, "ports": [{"port": 80}]}}
    assert world.api.create(world.path("Service"), service)
    world.create("loud")

    def events() -> list[dict[str, Any]]:
        items = world.api.get(world.path("Event"))["items"]
        return [item for item in items if item["regarding"]["name"] == "loud"]

    (event,) = eventually(events, "an Event")
    assert (event["type"], event["reason"], event["regarding"]["kind"]) == (
        "Warning",
        "NameConflict",
        "ModelDeployment",
    )
    for number in range(5):  # news of the same trouble
        world.api.patch(world.path("ModelDeployment", "loud"), {"metadata": {"labels": {"n": str(number)}}})
    assert len(events()) == 1


def test_many_at_once_all_converge(shared: tuple[World, Operator]) -> None:
    world, operator = shared
    names = [f"many-{number}" for number in range(12)]
    threads = [threading.Thread(target=world.create, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in names:
        world.settle(name)
    assert operator.metrics()["slipway_queue_depth"] <= len(names)
