"""What the status is made of, read once: the input of conditions and history. Pure."""

from dataclasses import dataclass
from datetime import datetime

from slipway import loose, remembered, render, revisions, rollout
from slipway.api import ConditionStatus, Reason
from slipway.failure import worst_first
from slipway.observed import Failure, Key, Manifest, Observed, Plan, Pod
from slipway.remembered import Remembered
from slipway.render import Pin
from slipway.revisions import Record
from slipway.rollout import Counts


@dataclass(frozen=True, slots=True)
class Says:
    """A condition without its times."""

    status: ConditionStatus
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class View:
    """Everything that conditions and history are made of."""

    key: Key
    plan: Plan
    memory: Remembered
    live: Manifest | None
    counts: Counts | None
    pods: tuple[Pod, ...]
    records: tuple[Record, ...]
    pin: Pin | None
    """What all pods of the served revision serve, if that is pinned."""
    failure: Failure | None
    revision: int | None
    """The revision that is asked for."""
    served: int | None
    """The revision that the Deployment is brought to."""
    now: datetime

    @property
    def rolled_out(self) -> bool:
        """The Deployment's template is that of the served revision."""
        return self.live is not None and rollout.number(self.live) == self.served

    @property
    def complete(self) -> bool:
        """All wanted pods, and no others, run the served revision and answer."""
        return self.rolled_out and self.counts is not None and self.counts.complete and not self.plan.throttled

    @property
    def back(self) -> bool:
        """The revision that is asked for has failed, and another one is served instead."""
        return self.revision is not None and self.served != self.revision and self.memory.failed(self.revision)

    @property
    def trouble(self) -> Pod | None:
        """The pod of the served revision that is worst off."""
        stuck = [pod for pod in self.pods if pod.revision == self.served and pod.reason not in {None, Reason.EVICTED}]
        return min(stuck, key=worst_first, default=None)


def read(key: Key, observed: Observed, plan: Plan, failures: tuple[Failure, ...], now: datetime) -> View:
    """Read once what the conditions are made of; see `status.compute`."""
    resource = observed.resource or {}
    uid = str(loose.mapping(resource.get("metadata")).get("uid", ""))
    old = loose.mapping(resource.get("status"))
    memory = remembered.read(old)
    live = rollout.live_deployment(key, uid, observed.children)
    revision = plan.revision if plan.revision is not None else loose.number(old.get("revision"))
    served = plan.served if plan.revision is not None else loose.number(old.get("servedRevision"))
    served = revision if served is None else served
    records = revisions.read(observed.children, key.name, uid)
    pins = (render.read_pin(observed.children, key.name, record) for record in records if record.number == served)
    return View(
        key=key,
        plan=plan,
        memory=memory,
        live=live,
        counts=rollout.counts(live) if live else None,
        pods=observed.pods,
        records=records,
        pin=next(pins, None),
        failure=failures[0] if failures else None,
        revision=revision,
        served=served,
        now=now,
    )
