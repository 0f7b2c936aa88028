"""The history: how each recorded revision fared. Verdicts are carried over from the old status. Pure; part of it."""

from slipway import conditions, loose, render
from slipway.api import Reason, Verdict
from slipway.observed import Manifest, Observed, Pod
from slipway.render import Pin
from slipway.revisions import Record
from slipway.views import View

_MOST = 100
_MESSAGE_LENGTH = 1024


def compute(view: View, observed: Observed, time: str) -> list[Manifest]:
    """Return the history, newest first: the records that there are.

    Args:
        view: what the conditions are made of.
        observed: everything known.
        time: the present, as it is written into verdicts that are new.
    """
    name = view.key.name
    return [
        _entry(view, record, render.read_pin(observed.children, name, record), time) for record in view.records[:_MOST]
    ]


def _entry(view: View, record: Record, pin: Pin | None, time: str) -> Manifest:
    before = view.memory.history.get(record.number, {})
    verdict, reason, message = _verdict(view, record.number, before)
    version, digest = (pin.version, pin.digest) if pin is not None else _served(view.pods, record.number)
    started = before.get("started") if isinstance(before.get("started"), str) else record.created or time
    same = before.get("verdict") == verdict and isinstance(before.get("time"), str)
    decided = view.plan.revision is not None
    again = decided and verdict is Verdict.PROGRESSING and view.memory.revision != record.number
    found = {
        "revision": record.number,
        "uri": str(loose.mapping(record.spec.get("model")).get("uri", "")),
        "image": record.image,
        "modelVersion": version if version is not None else loose.number(before.get("modelVersion")),
        "digest": digest or (before.get("digest") if isinstance(before.get("digest"), str) else None),
        "verdict": str(verdict),
        "reason": reason,
        "message": loose.one_line(message, _MESSAGE_LENGTH),
        "started": started,
        "time": before["time"] if same and not again else time,
    }
    return {field: value for field, value in found.items() if value is not None}


def _verdict(view: View, number: int, before: Manifest) -> tuple[Verdict, str, str]:
    """Return how a revision fared: the stable one is Ready; once Failed it stays so while it is asked for.

    Asked for anew, a revision is on its way again, whatever became of it before.
    """
    said = view.memory.verdict(number)
    kept = loose.text(before.get("reason")), loose.text(before.get("message"))
    if view.plan.revision is None:  # nothing was decided: nothing is new
        return (said, *kept) if said is not None else (Verdict.PROGRESSING, "", "")
    if number == view.plan.stable or (number == view.served == view.revision and _serves(view)):
        return Verdict.READY, "", ""
    if number == view.revision:
        return (Verdict.FAILED, *kept) if view.memory.failed(number) else _judge(view, number)
    if said is Verdict.FAILED:
        return (said, *kept)
    return (Verdict.READY if said is Verdict.READY else Verdict.SUPERSEDED), "", ""


def _judge(view: View, number: int) -> tuple[Verdict, str, str]:
    """Return how the revision that is asked for fares, which has neither served completely nor failed."""
    if (says := conditions.failed(view)) is not None:
        return Verdict.FAILED, str(says.reason), says.message
    if view.memory.answered(number) or any(pod.revision == number and pod.ready for pod in view.pods):
        return Verdict.PROGRESSING, str(Reason.AVAILABLE), "A pod of it has answered"
    return Verdict.PROGRESSING, "", ""


def stable(view: View) -> int | None:
    """Return the last revision that served completely, the present moment included."""
    return view.served if _serves(view) else view.plan.stable if view.plan.revision is not None else view.memory.stable


def _serves(view: View) -> bool:
    return view.complete and view.counts is not None and view.counts.wanted > 0


def _served(pods: tuple[Pod, ...], revision: int) -> tuple[int | None, str | None]:
    """Return the version and digest that a pod of the revision has fetched: of a ready one, if there is one."""
    fetched = [pod for pod in pods if pod.revision == revision and pod.digest is not None]
    pod = min(fetched, key=lambda pod: (not pod.ready, pod.name), default=None)
    return (pod.model_version, pod.digest) if pod else (None, None)
