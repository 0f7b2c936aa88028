"""Names that other owners use, and specs that cannot be carried out: reported in the status, and no one else is affected."""

import threading
from typing import Any

from dev.kit.eventually import eventually
from dev.kit.local_operator import Operator
from tests.integration.world import World

FOREIGN_SELECTOR = {"app": "foreign"}


def foreign_deployment(name: str) -> dict[str, Any]:
    pod = {"metadata": {"labels": FOREIGN_SELECTOR}, "spec": {"containers": [{"name": "c", "image": "foreign:1"}]}}
    return {
        "metadata": {"name": name},
        "spec": {"replicas": 1, "selector": {"matchLabels": FOREIGN_SELECTOR}, "template": pod},
    }


def test_a_foreign_service_is_reported_and_left_alone(shared: tuple[World, Operator]) -> None:
    world, operator = shared
    service = {"metadata": {"name": "used"}, "spec": {"selector": FOREIGN_SELECTOR, "ports": [{"port": 80}]}}
    assert world.api.create(world.path("Service"), service)
    before = world.get("Service", "used")
    world.create("used")
    ready = eventually(
        lambda: (found := world.condition("used")).get("reason") == "NameConflict" and found, "the conflict"
    )
    assert ready["status"] == "False"
    assert "Service" in ready["message"]
    assert "used" in ready["message"]
    assert world.get("Service", "used") == before
    assert operator.alive()
    assert world.api.delete(world.path("Service", "used"))
    eventually(lambda: world.find("Service", "used"), "when it is deleted, ours is created")
    world.settle("used")


def test_a_foreign_service_without_a_selector_is_left_alone_too(shared: tuple[World, Operator]) -> None:
    """Nothing in it conflicts with what would be applied; it must be neither taken over nor deleted with the resource."""
    world, _ = shared
    service = {"metadata": {"name": "bare"}, "spec": {"ports": [{"name": "other", "port": 99}]}}
    assert world.api.create(world.path("Service"), service)
    before = world.get("Service", "bare")
    world.create("bare")
    ready = eventually(
        lambda: (found := world.condition("bare")).get("reason") == "NameConflict" and found, "the conflict"
    )
    assert "Service bare could not be applied: another owner's object has this name" in ready["message"]
    assert "give this ModelDeployment another name" in ready["message"]
    assert world.get("Service", "bare") == before


def test_a_foreign_deployment_gets_none_of_our_children(shared: tuple[World, Operator]) -> None:
    world, _ = shared
    assert world.api.create(world.path("Deployment"), foreign_deployment("busy"))
    before = world.get("Deployment", "busy")
    world.create("busy", autoscaling={"minReplicas": 1, "maxReplicas": 3})
    eventually(lambda: world.condition("busy").get("reason") == "NameConflict", "the conflict")
    assert world.get("Deployment", "busy") == before
    assert world.find("HorizontalPodAutoscaler", "busy") is None, "it would scale another owner's pods"


def test_two_resources_need_one_name(shared: tuple[World, Operator]) -> None:
    """`twin` has a Service `twin-headless`; so would a ModelDeployment of that name."""
    world, _ = shared
    world.create("twin")
    world.settle("twin")
    before = world.get("Service", "twin-headless")
    world.create("twin-headless")
    ready = eventually(
        lambda: (found := world.condition("twin-headless")).get("reason") == "NameConflict" and found, "the conflict"
    )
    assert "twin-headless" in ready["message"]
    after = world.get("Service", "twin-headless")
    assert after["metadata"]["ownerReferences"] == before["metadata"]["ownerReferences"]
    assert after["spec"] == before["spec"]
    assert world.is_ready("twin"), "the first one still serves"


def test_a_quota_is_reported_with_the_servers_message(shared: tuple[World, Operator]) -> None:
    world, _ = shared
    quotas = f"/api/v1/namespaces/{world.namespace}/resourcequotas"
    hard = {"count/deployments.apps": "0"}
    assert world.api.create(quotas, {"metadata": {"name": "none"}, "spec": {"hard": hard}})
    world.api.patch(f"{quotas}/none/status", {"status": {"hard": hard, "used": hard}})
    try:
        world.create("poor")
        ready = eventually(
            lambda: (found := world.condition("poor")).get("reason") == "QuotaExceeded" and found, "the quota"
        )
        assert "exceeded quota: none" in ready["message"]
    finally:
        world.api.delete(f"{quotas}/none")
    eventually(lambda: world.find("Deployment", "poor"), "without the quota it is created")


def test_a_fault_brings_one_event(shared: tuple[World, Operator]) -> None:
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
    for number in range(5):  # events of the same fault
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
    assert operator.metrics()["slipway_workqueue_depth"] <= len(names)
