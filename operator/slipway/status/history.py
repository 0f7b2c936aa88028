"""The history: the verdict on each recorded revision, in words. Pure; part of the status."""

from slipway.api import Reason, Verdict
from slipway.domain import lenient, versions
from slipway.domain.objects import Manifest, Pod
from slipway.domain.revisions import Revision
from slipway.status import conditions
from slipway.status.status_input import StatusInput

_MAX_ENTRIES = 100
_MESSAGE_LENGTH = 1024


def compute(given: StatusInput, time: str) -> list[Manifest]:
    """Return the history, newest first; `time` is the present time, for verdicts that are new."""
    return [_entry(given, revision, time) for revision in given.state.revisions[:_MAX_ENTRIES]]


def _entry(given: StatusInput, revision: Revision, time: str) -> Manifest:
    state, number = given.state, revision.number
    before = state.recorded.history.get(number, {})
    verdict = given.judgement.verdicts[number]
    reason, message = _why(given, number, verdict, before)
    pin = state.pins.get(number)
    version, digest = (pin.version, pin.digest) if pin is not None else _reported(state.pods, number)
    started = before.get("startTime") if isinstance(before.get("startTime"), str) else revision.created or time
    same = before.get("verdict") == verdict and isinstance(before.get("lastTransitionTime"), str)
    decided = given.plan.update is not None
    new_attempt = decided and verdict is Verdict.PROGRESSING and state.recorded.update != number
    found = {
        "revision": number,
        "uri": str(lenient.mapping(revision.spec.get("model")).get("uri", "")),
        "image": revision.image,
        "modelVersion": versions.shown(version if version is not None else versions.read(before.get("modelVersion"))),
        "digest": digest or (before.get("digest") if isinstance(before.get("digest"), str) else None),
        "verdict": str(verdict),
        "reason": reason,
        "message": lenient.one_line(message, _MESSAGE_LENGTH),
        "startTime": started,
        "lastTransitionTime": before["lastTransitionTime"] if same and not new_attempt else time,
    }
    return {field: value for field, value in found.items() if value is not None}


def _why(given: StatusInput, number: int, verdict: Verdict, before: Manifest) -> tuple[str, str]:
    """Return reason and message of a verdict: those of a failure are kept as long as it stands."""
    kept = lenient.text(before.get("reason")), lenient.text(before.get("message"))
    if given.plan.update is None:  # nothing was decided: nothing changes
        return kept
    if verdict is Verdict.FAILED:
        new = number == given.plan.update and not given.state.recorded.failed(number)
        return conditions.failure(given) if new else kept
    if verdict is Verdict.PROGRESSING and given.judgement.answered:
        return str(Reason.AVAILABLE), "A pod of it is or was ready"
    return "", ""


def _reported(pods: tuple[Pod, ...], revision: int) -> tuple[int | None, str | None]:
    """Return version and digest that a pod of a revision has reported, preferably one that is Ready."""
    fetched = [pod for pod in pods if pod.revision == revision and pod.digest is not None]
    pod = min(fetched, key=lambda pod: (not pod.ready, pod.name), default=None)
    return (pod.model_version, pod.digest) if pod else (None, None)
