"""The history: how each recorded revision fared. Verdicts are carried over from the old status. Pure; part of it."""

from collections.abc import Iterator

from slipway import conditions, loose, names, revisions
from slipway.api import ConditionStatus, Verdict
from slipway.conditions import View
from slipway.observed import Apply, Delete, Manifest, Observed, Plan, Pod, Ref
from slipway.revisions import Record

_MOST = 100
_MESSAGE_LENGTH = 1024


def compute(view: View, observed: Observed, uid: str, time: str) -> list[Manifest]:
    """Return the history, newest first: the records that there are when the plan has been carried out.

    Args:
        view: what the conditions are made of.
        observed: everything known.
        uid: of the ModelDeployment.
        time: the present, as it is written into verdicts that are new.
    """
    found = {record.number: record for record in _recorded_now(view.plan)}
    found |= {record.number: record for record in revisions.read(observed.children, view.key.name, uid)}
    gone = {action.ref for action in view.plan.actions if isinstance(action, Delete)}
    kept = [
        found[number]
        for number in sorted(found, reverse=True)
        if Ref(revisions.KIND, names.revision(view.key.name, number)) not in gone
    ]
    before = conditions.old_history(view.old)
    return [_entry(view, record, before.get(record.number, {}), time) for record in kept[:_MOST]]


def _recorded_now(plan: Plan) -> Iterator[Record]:
    for action in plan.actions:
        if isinstance(action, Apply) and action.manifest["kind"] == revisions.KIND:
            yield Record(action.manifest["revision"], action.manifest["data"])


def _entry(view: View, record: Record, before: Manifest, time: str) -> Manifest:
    verdict, reason, message = _verdict(view, record, before)
    version, digest = _served(view.pods, record.number)
    same = before.get("verdict") == verdict and isinstance(before.get("time"), str)
    found = {
        "revision": record.number,
        "uri": str(loose.mapping(record.spec.get("model")).get("uri", "")),
        "image": record.image,
        "modelVersion": version if version is not None else loose.number(before.get("modelVersion")),
        "digest": digest or (before.get("digest") if isinstance(before.get("digest"), str) else None),
        "verdict": str(verdict),
        "reason": reason,
        "message": loose.one_line(message, _MESSAGE_LENGTH),
        "time": before["time"] if same else time,
    }
    return {field: value for field, value in found.items() if value is not None}


def _verdict(view: View, record: Record, before: Manifest) -> tuple[Verdict, str, str]:
    """Return how a revision fared: once Ready it stays so; once Failed it stays so until it is Ready."""
    said = loose.text(before.get("verdict"))
    if said == Verdict.READY:
        return Verdict.READY, "", ""
    kept = loose.text(before.get("reason")), loose.text(before.get("message"))
    if view.plan.revision is None:  # nothing was decided: nothing is new
        return (Verdict(said), *kept) if said in set(Verdict) else (Verdict.PROGRESSING, "", "")
    if record.number != view.revision:
        return (Verdict.FAILED, *kept) if said == Verdict.FAILED else (Verdict.SUPERSEDED, "", "")
    if view.complete:
        return Verdict.READY, "", ""
    undecided = view.plan.problem is not None or view.failure is not None
    if not undecided and conditions.progressing(view).status is ConditionStatus.FALSE:
        ready = conditions.ready(view)
        return Verdict.FAILED, str(ready.reason), ready.message
    return (Verdict.FAILED, *kept) if said == Verdict.FAILED else (Verdict.PROGRESSING, "", "")


def _served(pods: tuple[Pod, ...], revision: int) -> tuple[int | None, str | None]:
    """Return the version and digest that a pod of the revision has fetched: of a ready one, if there is one."""
    fetched = [pod for pod in pods if pod.revision == revision and pod.digest is not None]
    pod = min(fetched, key=lambda pod: (not pod.ready, pod.name), default=None)
    return (pod.model_version, pod.digest) if pod else (None, None)
