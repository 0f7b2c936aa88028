"""What is created: ModelDeployments, and the children that the operator makes of one, for the client that does without it.

The children come from the operator's own packages, so that both sides create the same objects whatever a release renders.
"""

from datetime import UTC, datetime
from typing import Any

from slipway.api import GROUP, KIND, PLURAL, VERSION
from slipway.decide import State, make_plan
from slipway.domain.objects import Apply, Key, Observed
from slipway.domain.servers import Defaults

Object = dict[str, Any]

NAMESPACE = "bench"
CLAIM = "models"
DEFAULTS = Defaults("tensorflow/serving", "2.20.0", "slipway/tools:0.1.0", "IfNotPresent")
RESOURCES = f"/apis/{GROUP}/{VERSION}/namespaces/{NAMESPACE}/{PLURAL}"
DEPLOYMENTS = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
COLLECTIONS = {
    "Deployment": DEPLOYMENTS,
    "Service": f"/api/v1/namespaces/{NAMESPACE}/services",
    "ControllerRevision": f"/apis/apps/v1/namespaces/{NAMESPACE}/controllerrevisions",
    "HorizontalPodAutoscaler": f"/apis/autoscaling/v2/namespaces/{NAMESPACE}/horizontalpodautoscalers",
    "PodDisruptionBudget": f"/apis/policy/v1/namespaces/{NAMESPACE}/poddisruptionbudgets",
}
"""Where the children's kinds live."""


def name(index: int) -> str:
    """Return the name of the resource with this number."""
    return f"model-{index:05}"


def resource(index: int) -> Object:
    """Return a ModelDeployment as a user would write it, with autoscaling on."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "metadata": {"name": name(index), "namespace": NAMESPACE},
        "spec": {
            "model": {"uri": f"pvc://{CLAIM}/{name(index)}"},
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
            "autoscaling": {"minReplicas": 1, "maxReplicas": 3},
        },
    }


def template_change() -> Object:
    """Return the merge patch that gives a resource another pod template."""
    return {"spec": {"model": {"version": 2}}}


def children(index: int) -> list[Object]:
    """Return what the operator makes of a new ModelDeployment, without the reference to an owner that is not there."""
    body = resource(index)
    # The API server would have filled these in.
    body["metadata"] |= {"uid": "00000000-0000-0000-0000-000000000000", "generation": 1, "resourceVersion": "1"}
    state = State.gather(Key(NAMESPACE, name(index)), Observed(body))
    decided = make_plan(state, DEFAULTS, datetime.now(UTC))
    if decided.problem is not None:
        raise ValueError(f"the operator would refuse the benchmark's resource: {decided.problem.message}")
    return [_free(action.manifest) for action in decided.actions if isinstance(action, Apply)]


def _free(manifest: Object) -> Object:
    metadata = {key: value for key, value in manifest["metadata"].items() if key != "ownerReferences"}
    return manifest | {"metadata": metadata}


def available(deployment: Object) -> bool:
    """Tell whether a Deployment has all its pods available, as the operator's Ready requires."""
    status = deployment.get("status", {})
    return (
        status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
        and status.get("availableReplicas", 0) >= deployment["spec"]["replicas"]
        and _condition(status, "Available")
    )


def ready(found: Object) -> bool:
    """Tell whether a ModelDeployment is Ready in its present generation."""
    status = found.get("status", {})
    return status.get("observedGeneration") == found["metadata"]["generation"] and _condition(status, "Ready")


def _condition(status: Object, kind: str) -> bool:
    return any(each["type"] == kind and each["status"] == "True" for each in status.get("conditions", []))
