"""How a gate ends when it does not hold: as a fault of the gate itself, or as a verdict on the model."""

from slipway_tools.pilot.verdict import Verdict


class GateInvalidError(Exception):
    """The gate cannot be asked: golden set, bounds and model do not fit together. The text names the field and the fix."""


class GateFailedError(Exception):
    """The model did not keep a bound, or could not answer at all."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.message)
        self.verdict = verdict
