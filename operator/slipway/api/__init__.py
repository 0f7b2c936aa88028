"""The resource: types of spec and status of a ModelDeployment, their validation rules, condition types and reasons.

First in the flow: every other package uses these types. Nothing here does I/O.
"""

from slipway.api.base import MAX_VERSION, parse_duration
from slipway.api.gate import Check, Gate, Golden, Metric, parse_gate
from slipway.api.pods import Gpu, PodTemplate, Resources
from slipway.api.reasons import ConditionStatus, ConditionType, Reason
from slipway.api.resource import (
    API_VERSION,
    CATEGORIES,
    GROUP,
    KIND,
    PLURAL,
    SHORT_NAMES,
    SINGULAR,
    VERSION,
    parse_spec,
)
from slipway.api.runtime import Batching, Runtime, Warmup
from slipway.api.source import ModelSource
from slipway.api.spec import (
    Autoscaling,
    AutoscalingMetric,
    ModelDeploymentSpec,
    OnFailure,
    Rollout,
    RolloutStrategy,
)
from slipway.api.status_fields import (
    Condition,
    Endpoints,
    ModelDeploymentStatus,
    PodState,
    PodStatus,
    RevisionStatus,
    Verdict,
)

__all__ = [
    "API_VERSION",
    "CATEGORIES",
    "GROUP",
    "KIND",
    "MAX_VERSION",
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
    "parse_gate",
    "parse_spec",
]
