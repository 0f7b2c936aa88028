"""The resource: typed spec and status of a ModelDeployment, and the CRD generated from them.

First in the flow: every other room speaks in these types. Nothing here does I/O.
"""

from slipway.api.conditions import ConditionStatus, ConditionType, Reason
from slipway.api.durations import parse_duration
from slipway.api.gate import Check, Gate, Golden, Metric
from slipway.api.podtemplate import Gpu, PodTemplate, Resources
from slipway.api.resource import CATEGORIES, GROUP, KIND, PLURAL, SHORT_NAMES, SINGULAR, VERSION, ModelDeployment
from slipway.api.rollout import OnFailure, Rollout, RolloutStrategy
from slipway.api.runtime import Batching, Runtime, Warmup
from slipway.api.scaling import Autoscaling, AutoscalingMetric
from slipway.api.source import ModelSource
from slipway.api.spec import ModelDeploymentSpec
from slipway.api.status import (
    Condition,
    Endpoints,
    ModelDeploymentStatus,
    PodState,
    PodStatus,
    RevisionStatus,
    Verdict,
)

__all__ = [
    "CATEGORIES",
    "GROUP",
    "KIND",
    "PLURAL",
    "SHORT_NAMES",
    "SINGULAR",
    "VERSION",
    "Autoscaling",
    "AutoscalingMetric",
    "Batching",
    "Check",
    "Condition",
    "ConditionStatus",
    "ConditionType",
    "Endpoints",
    "Gate",
    "Golden",
    "Gpu",
    "Metric",
    "ModelDeployment",
    "ModelDeploymentSpec",
    "ModelDeploymentStatus",
    "ModelSource",
    "OnFailure",
    "PodState",
    "PodStatus",
    "PodTemplate",
    "Reason",
    "Resources",
    "RevisionStatus",
    "Rollout",
    "RolloutStrategy",
    "Runtime",
    "Verdict",
    "Warmup",
    "parse_duration",
]
