"""Condition types and reasons: the closed vocabulary of status, events and metrics."""

from enum import StrEnum


class ConditionType(StrEnum):
    """What a condition speaks of."""

    READY = "Ready"
    """True: every pod that is wanted runs the newest revision and answers."""
    AVAILABLE = "Available"
    """True: at least one pod of any revision answers, and no fewer than may be missing."""
    PROGRESSING = "Progressing"
    """True: pods are being changed. False: nothing is under way, because it is done or because it failed."""
    ROLLED_BACK = "RolledBack"
    """True: the revision that the spec asks for failed, and the last one that served is served instead."""


class ConditionStatus(StrEnum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Reason(StrEnum):
    """Why a condition is what it is. Programs may rely on these words; people read the message."""

    # the good ones
    READY = "Ready"
    COMPLETE = "Complete"
    AVAILABLE = "Available"
    SCALED_TO_ZERO = "ScaledToZero"
    NOT_ROLLED_BACK = "NotRolledBack"
    # on the way
    ROLLING_OUT = "RollingOut"
    SCALING = "Scaling"
    DRAINING_FIRST = "DrainingFirst"
    ROLLING_BACK = "RollingBack"
    ROLLED_BACK = "RolledBack"
    PAUSED = "Paused"
    # what the user wrote
    INVALID_SPEC = "InvalidSpec"
    UNKNOWN_FLAG = "UnknownFlag"
    NAME_CONFLICT = "NameConflict"
    REVISION_NOT_FOUND = "RevisionNotFound"
    # what the cluster said
    APPLY_FAILED = "ApplyFailed"
    QUOTA_EXCEEDED = "QuotaExceeded"
    PROGRESS_DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
    NOT_AVAILABLE = "NotAvailable"
    # what a pod said
    UNSCHEDULABLE = "Unschedulable"
    GPU_UNAVAILABLE = "GpuUnavailable"
    VOLUME_NOT_FOUND = "VolumeNotFound"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    CONTAINER_CONFIG_FAILED = "ContainerConfigFailed"
    FETCH_FAILED = "FetchFailed"
    LOAD_FAILED = "LoadFailed"
    OUT_OF_MEMORY = "OutOfMemory"
    GATE_FAILED = "GateFailed"
    GATE_INVALID = "GateInvalid"
    CRASH_LOOP = "CrashLoop"
    EVICTED = "Evicted"
    UNHEALTHY = "Unhealthy"
