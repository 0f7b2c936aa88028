"""What the last status recorded, as far as decisions depend on it: with the ControllerRevisions it is the operator's memory.

A verdict counts once it is written into the status, not before: an operator that is killed earlier, or whose status the API
server rejects, has decided nothing. Whatever the status contains, reading it never raises.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from slipway.api import Reason, Verdict
from slipway.domain import lenient, names, versions
from slipway.domain.objects import Manifest
from slipway.domain.revisions import Pin


@dataclass(frozen=True, slots=True)
class Recorded:
    """The part of a status that decisions depend on.

    Attributes:
        update: update revision at the time when the status was written. What is recorded of it belongs to the attempt at
            it that is still going on.
        current: the last revision that served completely, or None.
        target: target revision at that time, or None.
        history: entries of the status's history, by revision.
    """

    update: int | None
    current: int | None
    target: int | None
    history: Mapping[int, Manifest]

    def verdict(self, number: int) -> Verdict | None:
        """Return the recorded verdict on a revision, or None."""
        found = lenient.text(self.history.get(number, {}).get("verdict"))
        return Verdict(found) if found in set(Verdict) else None

    def failed(self, number: int) -> bool:
        """Return whether a revision has failed in the present attempt, which lasts as long as it is the update revision."""
        return self.update == number and self.verdict(number) is Verdict.FAILED

    def answered(self, number: int) -> bool:
        """Return whether a pod of a revision has been Ready in the present attempt."""
        reason = self.history.get(number, {}).get("reason")
        return self.update == number and self.verdict(number) is Verdict.PROGRESSING and reason == Reason.AVAILABLE

    def attempt_began(self, number: int) -> datetime | None:
        """Return when the present attempt at a revision began, while it has no verdict yet."""
        if self.update != number or self.verdict(number) is not Verdict.PROGRESSING:
            return None
        try:
            found = datetime.fromisoformat(lenient.text(self.history[number].get("lastTransitionTime")))
        except ValueError:
            return None
        return found if found.tzinfo else found.replace(tzinfo=UTC)

    def pin(self, number: int) -> Pin | None:
        """Return the model version and digest that pods of a revision serve, or have served; None if none was ever Ready.

        The history also tells what a pod has fetched that was never Ready.
        """
        entry = self.history.get(number, {})
        if self.verdict(number) is not Verdict.READY and entry.get("reason") != Reason.AVAILABLE:
            return None
        version, digest = versions.read(entry.get("modelVersion")), lenient.text(entry.get("digest"))
        return Pin(version, digest) if version is not None and digest else None

    @classmethod
    def read(cls, status: Manifest) -> "Recorded":
        """Return what a status records. Without a current revision it is the newest that the history calls Ready."""
        history = {
            number: item
            for item in lenient.items(status.get("history"))
            if (number := _number(item.get("revision"))) is not None
        }
        current = _number(status.get("currentRevision"))
        if current is None:
            ready = (number for number, item in history.items() if item.get("verdict") == Verdict.READY)
            current = max(ready, default=None)
        return cls(_number(status.get("updateRevision")), current, _number(status.get("targetRevision")), history)


def _number(value: object) -> int | None:
    found = lenient.number(value)
    return found if found is not None and 0 < found <= names.MAX_REVISION else None
