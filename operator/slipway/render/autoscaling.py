"""HorizontalPodAutoscaler and PodDisruptionBudget."""

from typing import Any

from slipway.api import Autoscaling, AutoscalingMetric
from slipway.domain import names
from slipway.domain.names import Owner
from slipway.domain.objects import Manifest


def autoscaler(owner: Owner, autoscaling: Autoscaling) -> Manifest:
    """Return the autoscaler, which alone owns the Deployment's `spec.replicas`."""
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": owner.metadata(names.autoscaler(owner.key.name)),
        "spec": {
            "scaleTargetRef": {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": names.deployment(owner.key.name),
            },
            "minReplicas": autoscaling.min_replicas,
            "maxReplicas": autoscaling.max_replicas,
            "metrics": [_metric(metric) for metric in autoscaling.metrics],
        },
    }


def _metric(metric: AutoscalingMetric) -> dict[str, Any]:
    # Of the server alone: an injected sidecar without requests would make a metric of the whole pod unusable.
    return {
        "type": "ContainerResource",
        "containerResource": {
            "name": metric.type.value.lower(),
            "container": names.SERVER_CONTAINER,
            "target": {"type": "Utilization", "averageUtilization": metric.target},
        },
    }


def disruption_budget(owner: Owner) -> Manifest:
    """Return the budget: node drains evict one pod at a time, and a pod that is not Ready blocks none."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": owner.metadata(names.disruption_budget(owner.key.name)),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": names.selector(owner.key.name)},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }
