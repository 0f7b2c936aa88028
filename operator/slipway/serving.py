"""Which revision is asked for, and which is served. Pure, and read off the cluster each time; asked by the plan.

asked   the record that the spec, or its `pinnedRevision`, means
stable  the last revision that was served completely: all wanted pods, nothing else, ready
served  what the Deployment is brought to: the one asked for, or the stable one after that has failed

The order survives a kill at any point: the verdict is written into the status first; only a decision that reads it there
turns the Deployment back.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from slipway import revisions, rollout
from slipway.api import ModelDeploymentSpec, OnFailure, Verdict
from slipway.observed import Manifest
from slipway.remembered import Remembered
from slipway.revisions import Record


@dataclass(frozen=True, slots=True)
class Choice:
    """Which revision the Deployment is brought to.

    Attributes:
        served: its number.
        failed: the revision that is asked for has failed.
        paused: and waits for the user as it is.
    """

    served: int
    failed: bool = False
    paused: bool = False


def least(spec: ModelDeploymentSpec, live: Manifest | None) -> int:
    """Return the number of pods with which a revision is served completely."""
    return spec.autoscaling.min_replicas if spec.autoscaling else (rollout.replicas(spec, live) or 0)


def stable(spec: ModelDeploymentSpec, live: Manifest | None, memory: Remembered) -> int | None:
    """Return the stable revision: the one that serves completely at this moment, else the one remembered.

    Without pods nothing has been served: a revision that is scaled to zero does not become the stable one.
    """
    counts = rollout.counts(live) if live else None
    if counts is not None and counts.complete and counts.wanted >= max(1, least(spec, live)):
        return rollout.number(live) or memory.stable
    return memory.stable


def asked(
    spec: ModelDeploymentSpec, records: Sequence[Record], memory: Remembered, stable: int | None, rolled_out: int
) -> Record | None:
    """Return the record of what the spec asks for, or None if that is to become a new revision.

    The stable revision is always taken up again: no pod restarts. Any other is only while nothing has come since, so that
    what is asked for later is resolved anew. A failed one is kept while it is asked for, and never tried again by itself.

    Args:
        spec: what the user asks for.
        records: newest first.
        memory: what the last status said.
        stable: number of the stable revision.
        rolled_out: revision of the Deployment's pod template; 0 without one.
    """
    wanted = revisions.part(spec)
    same = [record for record in records if revisions.same(record.spec, wanted)]
    if not same:
        return None
    newest = same[0]
    if (kept := next((record for record in same if record.number == stable), None)) is not None:
        return kept
    if memory.failed(newest.number):
        return newest
    if memory.verdict(newest.number) is Verdict.FAILED:
        return None  # it was asked for in between what else: this is another attempt
    return newest if newest.number in {records[0].number, rolled_out} else None


def retried(record: Record, records: Sequence[Record], memory: Remembered, token: str) -> bool:
    """Tell whether a failed revision is to be tried once more, as a new one.

    The token of each try is in the record that was made for it, and every record holds the token that was there when it was
    made: an old token makes no new failure be tried again.
    """
    return bool(token) and memory.failed(record.number) and all(known.retry != token for known in records)


def choose(
    asked: int, memory: Remembered, stable: int | None, rolled_out: int, on_failure: OnFailure = OnFailure.ROLLBACK
) -> Choice:
    """Return which revision is served; see `asked` for the arguments.

    A failed revision that has none before it stays, and Kubernetes goes on trying. One that was rolled back already is
    not turned to again to be paused.
    """
    failed = stable != asked and memory.failed(asked)
    if not failed or stable is None:
        return Choice(asked, failed)
    if on_failure is OnFailure.PAUSE and rolled_out == asked:
        return Choice(asked, failed, paused=True)
    return Choice(stable, failed)
