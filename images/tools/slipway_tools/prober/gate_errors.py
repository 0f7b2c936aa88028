"""The two ways in which a gate fails: the gate itself is invalid, or the model does not pass it."""

from slipway_tools.prober.gate_verdict import Verdict


class GateInvalidError(Exception):
    """Gate, golden set and model do not fit together. The text names the field and the fix."""


class GateFailedError(Exception):
    """The model missed a bound, or could not answer at all."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.message)
        self.verdict = verdict
