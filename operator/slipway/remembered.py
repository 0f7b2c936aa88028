"""What the last status said, as far as decisions rest on it: together with the records it is the operator's memory.

A verdict counts from the moment when it has been written into the status, not before: an operator that is killed, or whose
status the API server refuses, has decided nothing. Whatever the status holds, reading it never raises.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from slipway import loose
from slipway.api import Reason, Verdict
from slipway.observed import Manifest

_MOST = 2**53
"""Numbers from here on are no revisions: JSON does not carry them exactly."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """What decisions need of a status.

    Attributes:
        revision: the revision that was asked for when the status was written; what is said of it is said of the same attempt.
        stable: the last revision that served completely, or None.
        history: what was said of each revision.
    """

    revision: int | None
    stable: int | None
    history: Mapping[int, Manifest]

    def verdict(self, number: int) -> Verdict | None:
        """Return how a revision fared, or None where nothing was said."""
        said = loose.text(self.history.get(number, {}).get("verdict"))
        return Verdict(said) if said in set(Verdict) else None

    def failed(self, number: int) -> bool:
        """Tell whether a revision has failed in the present attempt: it has been asked for ever since."""
        return self.revision == number and self.verdict(number) is Verdict.FAILED

    def answered(self, number: int) -> bool:
        """Tell whether a pod of a revision has been ready in the present attempt."""
        reason = self.history.get(number, {}).get("reason")
        return self.revision == number and self.verdict(number) is Verdict.PROGRESSING and reason == Reason.AVAILABLE

    def since(self, number: int) -> datetime | None:
        """Return when the present attempt at a revision began, as far as it is not decided yet."""
        if self.revision != number or self.verdict(number) is not Verdict.PROGRESSING:
            return None
        try:
            found = datetime.fromisoformat(loose.text(self.history[number].get("time")))
        except ValueError:
            return None
        return found if found.tzinfo else found.replace(tzinfo=UTC)

    def resolved(self, number: int) -> tuple[int, str] | None:
        """Return the model version and digest that pods of a revision have reported, or None."""
        entry = self.history.get(number, {})
        version, digest = loose.number(entry.get("modelVersion")), loose.text(entry.get("digest"))
        return (version, digest) if version is not None and digest else None


def read(status: Manifest) -> Remembered:
    """Return what a status says; one of a release that named no stable revision says it in its history."""
    history = {
        number: item
        for item in loose.items(status.get("history"))
        if (number := _number(item.get("revision"))) is not None
    }
    stable = _number(status.get("stableRevision"))
    if stable is None:
        stable = max((number for number, item in history.items() if item.get("verdict") == Verdict.READY), default=None)
    return Remembered(_number(status.get("revision")), stable, history)


def _number(value: object) -> int | None:
    found = loose.number(value)
    return found if found is not None and 0 < found < _MOST else None
