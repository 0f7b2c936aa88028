"""Input of conditions and history: state, plan and judgement of one moment."""

from dataclasses import dataclass

from slipway.decide import Judgement, Plan, State
from slipway.decide.state import Counts
from slipway.domain.objects import Key, Rejection


@dataclass(frozen=True, slots=True)
class StatusInput:
    """Everything that a status is made of.

    Attributes:
        state: of the ModelDeployment.
        plan: what was decided.
        judgement: how its revisions fare.
        rejection: the first action that the API server rejected, or None.
    """

    state: State
    plan: Plan
    judgement: Judgement
    rejection: Rejection | None

    @property
    def key(self) -> Key:
        """Namespace and name of the ModelDeployment."""
        return self.state.key

    @property
    def counts(self) -> Counts | None:
        """Numbers of the Deployment; None without one."""
        return self.state.deployment.counts if self.state.deployment is not None else None
