"""Condition types and reasons: the closed vocabulary of status, Events and metrics."""

from enum import StrEnum


class ConditionType(StrEnum):
    """Type of a condition."""

    READY = "Ready"
    """True: every desired pod runs the update revision and answers."""
    AVAILABLE = "Available"
    """True: enough pods answer, of whichever revision (the Deployment's own condition)."""
    PROGRESSING = "Progressing"
    """True: pods are being replaced or scaled. False: the rollout is complete, or has failed."""
    ROLLED_BACK = "RolledBack"
    """True: the update revision failed, and the current revision is the target instead."""


class ConditionStatus(StrEnum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Reason(StrEnum):
    """Reason of a condition. Programs may rely on these words; people read the message."""

    # all is well
    READY = "Ready"
    COMPLETE = "Complete"
    AVAILABLE = "Available"
    SCALED_TO_ZERO = "ScaledToZero"
    NOT_ROLLED_BACK = "NotRolledBack"
    # in progress
    ROLLING_OUT = "RollingOut"
    SCALING = "Scaling"
    TERMINATING_FIRST = "TerminatingFirst"
    ROLLING_BACK = "RollingBack"
    ROLLED_BACK = "RolledBack"
    PAUSED = "Paused"
    # faults of the spec
    INVALID_SPEC = "InvalidSpec"
    UNKNOWN_FLAG = "UnknownFlag"
    NAME_CONFLICT = "NameConflict"
    REVISION_NOT_FOUND = "RevisionNotFound"
    # refusals of the API server, and deadlines
    APPLY_FAILED = "ApplyFailed"
    QUOTA_EXCEEDED = "QuotaExceeded"
    PROGRESS_DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
    NOT_AVAILABLE = "NotAvailable"
    # faults of a pod
    UNSCHEDULABLE = "Unschedulable"
    GPU_UNAVAILABLE = "GpuUnavailable"
    VOLUME_NOT_FOUND = "VolumeNotFound"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    CONTAINER_CONFIG_FAILED = "ContainerConfigFailed"
    FETCH_FAILED = "FetchFailed"
    LOAD_FAILED = "LoadFailed"
    OOM_KILLED = "OOMKilled"
    GATE_FAILED = "GateFailed"
    GATE_INVALID = "GateInvalid"
    CRASH_LOOP = "CrashLoopBackOff"
    EVICTED = "Evicted"
    UNHEALTHY = "Unhealthy"
