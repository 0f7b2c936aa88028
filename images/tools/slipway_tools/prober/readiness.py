"""Whether a server that passed its gate stays in the endpoints: a pure rule over the results of the last requests.

An overloaded server is slow and rejects requests; taking it out would only move its load to the other pods. So any answer,
"overloaded" included, keeps it in, and slowness alone takes it out only when it is of no use to any client:

    result of a request                                                 out of the endpoints
    an answer, right or wrong (wrong ones are the gate's business)      never
    "overloaded" (RESOURCE_EXHAUSTED, UNAVAILABLE from the server)      never
    nothing listens, or the connection breaks                           at once
    no prediction within `timeout`, no metadata within another          at once: the whole server hangs
    no prediction within `timeout`, but metadata                        at the third in a row, with the deadline doubled
                                                                        each time: after 7 times `timeout`
    any other error, for an example that it has answered before         at the second in a row

It returns when it has answered every golden example correctly again.
"""

from dataclasses import dataclass
from enum import Enum, auto

_SLOW_IN_A_ROW = 3
_ERRORS_IN_A_ROW = 2


class ProbeResult(Enum):
    """How one request ended."""

    ANSWERED = auto()
    OVERLOADED = auto()
    UNREACHABLE = auto()
    HUNG = auto()
    SLOW = auto()
    ERROR = auto()


@dataclass(frozen=True, slots=True)
class Readiness:
    """The last results: `slow` and `errors` in a row; `lost` when the server has to leave the endpoints."""

    slow: int = 0
    errors: int = 0
    lost: bool = False

    def deadline(self, timeout: float) -> float:
        """Return the deadline of the next request, in seconds."""
        return timeout * 2.0**self.slow

    def after(self, result: ProbeResult) -> "Readiness":
        """Return the readiness after one more request."""
        if result in {ProbeResult.ANSWERED, ProbeResult.OVERLOADED}:
            return Readiness()
        if result in {ProbeResult.UNREACHABLE, ProbeResult.HUNG}:
            return Readiness(lost=True)
        slow = self.slow + 1 if result is ProbeResult.SLOW else 0
        errors = self.errors + 1 if result is ProbeResult.ERROR else 0
        return Readiness(slow, errors, lost=slow >= _SLOW_IN_A_ROW or errors >= _ERRORS_IN_A_ROW)
