"""When a revision has failed, and in whose words. Pure; asked by the status, which writes the verdict.

Two things are a failure: no pod of the revision has been ready yet and one of them reports what waiting does not cure; or
the Deployment has made no progress within `spec.rollout.progressDeadline`. Trouble that may pass is a failure by the deadline
alone.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from slipway import loose, rollout
from slipway.api import Reason
from slipway.observed import Manifest, Pod
from slipway.remembered import Remembered

_DEFINITE = frozenset(
    {
        Reason.FETCH_FAILED,
        Reason.LOAD_FAILED,
        Reason.GATE_FAILED,
        Reason.GATE_INVALID,
        Reason.OUT_OF_MEMORY,
        Reason.CONTAINER_CONFIG_FAILED,
        Reason.IMAGE_PULL_FAILED,
        Reason.CRASH_LOOP,
    }
)
_CRASHES = 2
"""Restarts from which on a server that ends without saying why is taken to end always."""


def worst_first(pod: Pod) -> tuple[bool, bool, bool, str]:
    """Sort pods: those in trouble first, then by name."""
    return (not pod.failed, pod.reason is None, pod.ready, pod.name)


def culprit(number: int, live: Manifest | None, pods: Iterable[Pod], memory: Remembered, now: datetime) -> Pod | None:
    """Return the pod whose words are the end of a revision that is being rolled out, or None.

    Args:
        number: of the revision.
        live: the Deployment.
        pods: of the ModelDeployment.
        memory: what the last status said.
        now: the present time.
    """
    mine = [pod for pod in pods if pod.revision == number]
    if rollout.number(live) != number or memory.answered(number) or any(pod.ready for pod in mine):
        return None
    return min((pod for pod in mine if _definite(pod) and _patience(pod, now) <= 0), key=worst_first, default=None)


def overdue(number: int, live: Manifest | None, memory: Remembered, now: datetime) -> bool:
    """Tell whether the roll-out of a revision has exceeded its deadline; see `culprit` for the arguments."""
    if live is None or not _timed_out(number, live):
        return False
    if memory.failed(number) or number == memory.stable:
        return True
    # What the Deployment says can be of an earlier attempt: it keeps saying so until pods of this one come.
    since = memory.since(number)
    return since is not None and now - since >= _deadline(live)


def seconds_left(
    number: int, live: Manifest | None, pods: Iterable[Pod], memory: Remembered, now: datetime
) -> float | None:
    """Return the seconds until time alone may make a failure of what is seen now; None if it cannot."""
    waits = [_patience(pod, now) for pod in pods if pod.revision == number and _definite(pod)]
    since = memory.since(number)
    if live is not None and since is not None and _timed_out(number, live):
        waits.append((_deadline(live) - (now - since)).total_seconds())
    return min((wait for wait in waits if wait > 0), default=None)


def _definite(pod: Pod) -> bool:
    return pod.failed and pod.reason in _DEFINITE and (pod.reason is not Reason.CRASH_LOOP or pod.restarts >= _CRASHES)


def _patience(pod: Pod, now: datetime) -> float:
    """Return the seconds for which the trouble of a pod may still pass; 0 or less where it is final."""
    if pod.scheduled is None or pod.patience <= 0:
        return 0.0
    return pod.patience - (now - pod.scheduled).total_seconds()


def _timed_out(number: int, live: Manifest) -> bool:
    says = rollout.condition(live, "Progressing")
    current = rollout.counts(live).current
    return rollout.number(live) == number and current and says.get("reason") == "ProgressDeadlineExceeded"


def _deadline(live: Manifest) -> timedelta:
    seconds = loose.number(loose.mapping(live.get("spec")).get("progressDeadlineSeconds"))
    return timedelta(seconds=600 if seconds is None else seconds)
