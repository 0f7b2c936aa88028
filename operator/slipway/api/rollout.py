"""`spec.rollout`: how a change reaches the pods, and what becomes of one that fails."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from slipway.api.base import ApiModel
from slipway.api.durations import duration
from slipway.api.gate import Gate

_DEADLINE = (
    "spec.rollout.progressDeadline must be at least 10s, longer than a probe takes, and at most 24h: "
    "write it like 90s, 10m or 1h30m"
)


class RolloutStrategy(StrEnum):
    """How pods of a new revision take over."""

    AUTO = "Auto"
    SURGE = "Surge"
    DRAIN_FIRST = "DrainFirst"


class OnFailure(StrEnum):
    """What becomes of a revision that fails."""

    ROLLBACK = "Rollback"
    PAUSE = "Pause"


class Rollout(ApiModel):
    """How a change reaches the pods."""

    strategy: RolloutStrategy = RolloutStrategy.AUTO
    """`Surge` starts a new pod before an old one goes. `DrainFirst` lets an old pod go first, for scarce hardware.
    `Auto` surges, and when the scheduler has no GPU left for the new pod, drains one old pod first."""
    progress_deadline: Annotated[str, *duration(_DEADLINE, least=10, most=86400)] = "10m"
    """How long a roll-out may stand still before it has failed, such as `90s`, `10m` or `1h30m`."""
    on_failure: OnFailure = OnFailure.ROLLBACK
    """What happens when a revision fails. `Rollback` goes back to the last one that served; the spec stays as it is and
    is not tried again until it changes or `kubectl annotate mdep NAME serving.slipway.dev/retry=TEXT` asks for it.
    `Pause` leaves everything as it is and waits for the same."""
    gate: Gate | None = None
    """What a pod must answer before it is Ready."""
    history_limit: Annotated[int, Field(ge=1, le=100)] = 10
    """How many revisions are remembered. Those that serve, served last or are pinned are kept beyond it."""
