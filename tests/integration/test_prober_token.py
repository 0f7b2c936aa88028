"""Kubernetes' own admission of service accounts, on a pod with a gate: the prober gets no token."""

from pathlib import Path

import yaml

from dev.cluster.controlplane import ControlPlane, Options
from slipway.domain.objects import Apply
from tests.kit.builders import World

INPUT = Path(__file__).parent.parent / "golden" / "gate-path-digest" / "input.yaml"
PODS = "/api/v1/namespaces/tokens/pods"


def test_the_prober_gets_no_token_of_the_pods_service_account() -> None:
    template = next(
        action.manifest["spec"]["template"]
        for action in World(yaml.safe_load(INPUT.read_text())).plan().actions
        if isinstance(action, Apply) and action.manifest["kind"] == "Deployment"
    )
    # With a controller-manager, service accounts are admitted and have tokens.
    with ControlPlane(Options(controller_manager=True)) as plane:
        api = plane.api()
        api.create("/api/v1/namespaces", {"metadata": {"name": "tokens"}})
        api.create("/api/v1/namespaces/tokens/serviceaccounts", {"metadata": {"name": "models"}})
        api.create(PODS, {"metadata": template["metadata"] | {"name": "pod"}, "spec": template["spec"]})
        spec = api.get(f"{PODS}/pod")["spec"]
    (token,) = [volume["name"] for volume in spec["volumes"] if "projected" in volume]
    holders = [
        container["name"]
        for container in (*spec["initContainers"], *spec["containers"])
        if token in {mount["name"] for mount in container["volumeMounts"]}
    ]
    assert holders == ["fetch", "server"]
