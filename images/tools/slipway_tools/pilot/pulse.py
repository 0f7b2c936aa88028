"""Whether a server that once passed its gate still belongs into the endpoints: a pure rule over what it was heard to say.

An overloaded server is slow and turns requests away; taking it out would only move its load to the others. So an answer of
any kind, "too busy" included, keeps it in, and being slow alone takes it out only when nobody can have any use of it:

    heard                                                               out of the endpoints
    an answer, right or wrong (wrong ones are the gate's business)      never
    "overloaded" (RESOURCE_EXHAUSTED, UNAVAILABLE from the server)      never
    nothing listens, or the connection broke                            at once
    no prediction within `timeout`, nor its metadata within another     at once: all of it hangs
    no prediction within `timeout`, but its metadata                    at the third time in a row, the time doubled
                                                                        each time: after 7 times `timeout`
    any other error, for an example that it had answered                at the second time in a row

It comes back when every golden example has been answered rightly again.
"""

from dataclasses import dataclass
from enum import Enum, auto

_SLOW_IN_A_ROW = 3
_REFUSED_IN_A_ROW = 2


class Heard(Enum):
    """What came back of a question."""

    ANSWER = auto()
    BUSY = auto()
    GONE = auto()
    DEAF = auto()
    SLOW = auto()
    REFUSED = auto()


@dataclass(frozen=True, slots=True)
class Pulse:
    """What was heard last: `slow` and `refused` times in a row."""

    slow: int = 0
    refused: int = 0
    out: bool = False

    def patience(self, timeout: float) -> float:
        """Return how long to wait for the next answer, in seconds."""
        return timeout * 2.0**self.slow

    def after(self, heard: Heard) -> "Pulse":
        """Return the pulse after one more question."""
        if heard in {Heard.ANSWER, Heard.BUSY}:
            return Pulse()
        if heard in {Heard.GONE, Heard.DEAF}:
            return Pulse(out=True)
        slow = self.slow + 1 if heard is Heard.SLOW else 0
        refused = self.refused + 1 if heard is Heard.REFUSED else 0
        return Pulse(slow, refused, out=slow >= _SLOW_IN_A_ROW or refused >= _REFUSED_IN_A_ROW)
