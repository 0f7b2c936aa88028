"""Quotas, limit ranges and clusters that assign identities, on a real API server: what they refuse, and what cures it."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from dev.cluster.api_client import Api, ApiError
from dev.cluster.controlplane import ControlPlane
from dev.kit.eventually import eventually
from slipway.api import Resources
from slipway.domain.objects import Manifest
from slipway.domain.pod_defaults import PodDefaults
from slipway.status.messages import rejection_advice
from tests.kit.builders import DEFAULTS, Model, World

GATE = {"golden": {"configMap": "set"}, "metrics": {"accuracy": ">=0.9"}}
SERVER = {"requests": {"cpu": "100m", "memory": "1Gi"}, "limits": {"cpu": "200m", "memory": "2Gi"}}
OURS: Manifest = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"cpu": "100m", "memory": "256Mi"}}
CHART_WIDE = PodDefaults(Resources(**OURS), Resources(**OURS))


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    with ControlPlane() as plane:
        yield plane.api()


def namespace(api: Api, name: str, **labels: str) -> str:
    """Make a namespace; return the path of its pods."""
    api.create("/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
    api.create(f"/api/v1/namespaces/{name}/serviceaccounts", {"metadata": {"name": "default"}})
    return f"/api/v1/namespaces/{name}/pods"


def pod(name: str, pods: PodDefaults | None = None, **template: Any) -> dict[str, Any]:
    """Return a pod of a gated model, as its ReplicaSet makes it."""
    model = Model().spec(resources=SERVER).rollout(gate=GATE).pods(**template)
    world = World(model, replace(DEFAULTS, pods=pods or PodDefaults())).serve()
    found: dict[str, Any] = world.children[world.ref("ControllerRevision", "digits-1")]["data"]["template"]
    return {"metadata": found["metadata"] | {"name": name}, "spec": found["spec"]}


def refusal(api: Api, path: str, body: dict[str, Any]) -> str:
    """Return the API server's words, once the plugin that refuses knows of its object."""

    def words() -> str:
        try:
            api.create(path, body)
        except ApiError as error:
            # A quota that is not counted yet refuses everything.
            return "" if "status unknown for quota" in str(error) else str(error)
        api.delete(f"{path}/{body['metadata']['name']}")
        return ""

    return eventually(words, "a pod is refused")


def cured(api: Api, path: str) -> None:
    """Check that the field and the chart's value both cure it."""
    assert api.create(path, pod("field", fetchResources=OURS, proberResources=OURS))
    assert api.create(path, pod("chart", CHART_WIDE))


def test_a_quota_that_demands_limits_of_every_container(api: Api) -> None:
    path = namespace(api, "quota")
    quotas, hard = "/api/v1/namespaces/quota/resourcequotas", {"limits.cpu": "8", "requests.memory": "32Gi"}
    api.create(quotas, {"metadata": {"name": "team"}, "spec": {"hard": hard}})
    used = {"limits.cpu": "0", "requests.memory": "0"}
    api.patch(f"{quotas}/team/status", {"status": {"hard": hard, "used": used}})
    words = refusal(api, path, pod("refused"))
    assert "must specify limits.cpu for: prober" in words
    assert rejection_advice(words) == (
        "set spec.podTemplate.proberResources (prober); for all models, the chart's modelPods.proberResources"
    )
    cured(api, path)


def test_a_limit_range_with_bounds_and_a_ratio(api: Api) -> None:
    path = namespace(api, "range")
    bounds = {"type": "Container", "min": {"cpu": "50m"}, "maxLimitRequestRatio": {"memory": "2"}}
    ranges = "/api/v1/namespaces/range/limitranges"
    api.create(ranges, {"metadata": {"name": "team"}, "spec": {"limits": [bounds]}})
    words = refusal(api, path, pod("refused"))
    assert "minimum cpu usage per Container is 50m" in words
    assert "spec.podTemplate.proberResources (prober); for all models, the chart's" in rejection_advice(words)
    cured(api, path)


def test_an_empty_object_takes_the_limit_ranges_defaults(api: Api) -> None:
    path = namespace(api, "defaulted")
    defaults = {"type": "Container", "defaultRequest": {"cpu": "60m"}, "default": {"cpu": "120m"}}
    ranges = "/api/v1/namespaces/defaulted/limitranges"
    api.create(ranges, {"metadata": {"name": "team"}, "spec": {"limits": [defaults]}})

    def limits() -> list[str]:
        api.create(path, pod("empty", fetchResources={}, proberResources={}))
        containers = api.get(f"{path}/empty")["spec"]["initContainers"]
        api.delete(f"{path}/empty")
        return [item["resources"].get("limits", {}).get("cpu") for item in containers]

    eventually(lambda: limits() == ["120m", "120m"], "the defaults")


def test_pods_without_identities_keep_the_restricted_standard(api: Api) -> None:
    """What assigns them, such as OpenShift's restricted-v2, finds the fields empty."""
    path = namespace(api, "assigned", **{"pod-security.kubernetes.io/enforce": "restricted"})
    assert api.create(path, pod("bare", PodDefaults(run_as_user=None, run_as_group=None, fs_group=None)))
    context = api.get(f"{path}/bare")["spec"]["securityContext"]
    assert context == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
