"""Decides what to do about one ModelDeployment: a pure function of what is observed. Between the store and the cluster.

read the spec → find the revision that is asked for, and the one that is served → render → compare with what lives →
actions, in order.

Order of actions: an autoscaler that is no longer wanted goes first, so that it does not fight for the number of pods;
then the record of the revision and its pin, Services, Deployment, disruption budget, autoscaler; old records go last.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from slipway import (
    compare,
    failure,
    loose,
    names,
    remembered,
    render,
    resolving,
    revisions,
    rollout,
    runtimes,
    serving,
    wanted,
)
from slipway.api import ModelDeploymentSpec, Reason, Verdict
from slipway.observed import Apply, Delete, Key, Manifest, Observed, Plan, Problem, Ref
from slipway.remembered import Remembered
from slipway.render import Owner, Wanted
from slipway.revisions import Record
from slipway.runtimes import Defaults, Images
from slipway.serving import Choice

CONFLICT_SECONDS = 60.0
"""When a name that somebody else holds is tried again: his object may carry no label and bring no event."""
_MOST_NAMED = 10


@dataclass(frozen=True, slots=True)
class _Case:
    """One decision's input, read once."""

    owner: Owner
    spec: ModelDeploymentSpec
    observed: Observed
    live: Manifest | None
    """The Deployment, if it is this ModelDeployment's."""
    records: tuple[Record, ...]
    memory: Remembered
    stable: int | None

    @property
    def rolled_out(self) -> int:
        return rollout.number(self.live)

    @property
    def retry(self) -> str:
        """The token that asks for another try."""
        metadata = loose.mapping(loose.mapping(self.observed.resource).get("metadata"))
        return loose.text(loose.mapping(metadata.get("annotations")).get(names.RETRY_ANNOTATION))

    def child(self, ref: Ref) -> Manifest | None:
        return self.observed.children.get(ref)

    def holder(self, body: Manifest) -> str | None:
        return names.holder(body, self.owner.key.name, self.owner.uid)

    def record(self, number: int | None) -> Record | None:
        """Return a record, or the pod template that runs where its record is lost."""
        found = next((record for record in self.records if record.number == number), None)
        if found is None and self.live is not None and number == self.rolled_out != 0:
            return revisions.held(number, loose.mapping(loose.mapping(self.live.get("spec")).get("template")))
        return found


def decide(key: Key, observed: Observed, defaults: Defaults, now: datetime) -> Plan:
    """Return what is to be done now, and what the status should know of the decision. Never raises.

    Args:
        key: which ModelDeployment.
        observed: everything known of it.
        defaults: the operator's settings for new revisions.
        now: the present time, aware.
    """
    body = observed.resource
    metadata = body.get("metadata") if body else None
    if body is None or not isinstance(metadata, dict) or metadata.get("deletionTimestamp"):
        return Plan()  # the garbage collector takes the children
    spec = wanted.read(key, body)
    if isinstance(spec, Problem):
        return Plan(problem=spec)
    owner = Owner(key, str(metadata.get("uid", "")))
    live = rollout.live_deployment(key, owner.uid, observed.children)
    memory = remembered.read(loose.mapping(body.get("status")))
    stable = serving.stable(spec, live, memory)
    records = revisions.read(observed.children, key.name, owner.uid)
    case = _Case(owner, spec, observed, live, records, memory, stable)
    asked, problem = _asked(case, defaults)
    return Plan(problem=problem) if asked is None else _plan(case, asked, problem, now)


def _asked(case: _Case, defaults: Defaults) -> tuple[Record | None, Problem | None]:
    """Return the record of what is asked for; where that cannot be had, why, and the record of what was asked for before."""
    pinned = case.spec.pinned_revision
    if pinned is not None:
        found = next((record for record in case.records if record.number == pinned), None)
        if found is None and case.rolled_out == pinned:
            found = _lost_record(case, defaults)
        return (found, None) if found is not None else (_before(case), _not_found(case, pinned))
    found = serving.asked(case.spec, case.records, case.memory, case.stable, case.rolled_out)
    found = found or _lost_record(case, defaults)
    if found is not None and not serving.retried(found, case.records, case.memory, case.retry):
        return found, None
    if problem := wanted.check(case.spec, defaults):
        return _before(case), problem
    return _new_record(case, defaults), None


def _before(case: _Case) -> Record | None:
    return case.record(case.memory.revision) or case.record(case.rolled_out)


def _not_found(case: _Case, pinned: int) -> Problem:
    numbers = [record.number for record in case.records[:_MOST_NAMED]]
    failed = {number for number in numbers if case.memory.verdict(number) is Verdict.FAILED}
    known = ", ".join(f"{number} (failed)" if number in failed else str(number) for number in numbers)
    fix = f"choose one of {known}, or remove the field" if known else "remove the field"
    return Problem(Reason.REVISION_NOT_FOUND, f"spec.pinnedRevision: there is no record of revision {pinned}: {fix}")


def _lost_record(case: _Case, defaults: Defaults) -> Record | None:
    """Make the record of the revision that is rolled out anew, if it was deleted and the spec still asks for the same."""
    number = case.rolled_out
    if case.live is None or number == 0 or any(record.number >= number for record in case.records):
        return None
    live = case.live.get("spec", {}).get("template", {})
    images = revisions.images_of(live)
    if images is None:
        return None
    record = _record(case, number, images, defaults)
    return record if compare.in_sync(record.template, live) else None


def _new_record(case: _Case, defaults: Defaults) -> Record:
    known = {case.rolled_out, *case.memory.history, *(pod.revision for pod in case.observed.pods)}
    taken = revisions.highest_number(case.observed.children, case.owner.key.name, known)
    server = runtimes.server_image(case.spec.runtime, case.spec.gpu, defaults)
    return _record(case, taken + 1, Images(server, defaults.tools_image, defaults.pull_policy), defaults)


def _record(case: _Case, number: int, images: Images, defaults: Defaults) -> Record:
    version = runtimes.version_of(case.spec.runtime, defaults)
    template = render.template(case.owner.key.name, number, case.spec, images, version)
    return revisions.make(number, case.spec, images, template, case.retry)


def _plan(case: _Case, asked: Record, problem: Problem | None, now: datetime) -> Plan:
    choice = serving.choose(asked.number, case.memory, case.stable, case.rolled_out, case.spec.rollout.on_failure)
    record = asked if choice.served == asked.number else case.record(choice.served)
    if record is None:  # somebody deleted the record of the stable revision, and nothing runs it any more
        record, choice = asked, Choice(asked.number, choice.failed)
    desired = _wanted(case, record, choice)
    throttled = desired.resolving and resolving.one_pod(case.spec, case.live, case.stable)
    children = _children(case, desired, throttled=throttled)
    conflict, foreign = _conflicts(case, children)
    held = frozenset({Ref("Deployment", names.deployment(case.owner.key.name))} if _unnoted(case, record) else ())
    found = Plan(
        revision=asked.number,
        problem=problem or conflict,
        draining=desired.draining,
        scaled=rollout.replicas(case.spec, case.live),
        served=record.number,
        paused=choice.paused,
        stable=case.stable,
        failed=choice.failed,
        pinned=case.spec.pinned_revision is not None,
        throttled=throttled,
    )
    if Ref("Deployment", names.deployment(case.owner.key.name)) in foreign:
        return replace(found, wake_after=CONFLICT_SECONDS)
    actions: tuple[Apply | Delete, ...] = (
        *_unwanted(case, children),
        *(act for child in children if _ref(child) not in foreign | held for act in _apply(case, child, throttled)),
        *_prune(case, asked, record),
    )
    waits = (
        rollout.seconds_left(case.spec, case.live, record, now),
        failure.seconds_left(asked.number, case.live, case.observed.pods, case.memory, now),
        CONFLICT_SECONDS if conflict else None,
    )
    wake_after = min((wait for wait in waits if wait is not None), default=None)
    return replace(found, actions=actions, wake_after=wake_after)


def _unnoted(case: _Case, record: Record) -> bool:
    """Tell whether the Deployment is about to leave a revision of which only the Deployment tells that it is stable.

    The status has to say so first: an operator that were killed in between would go back to an older one.
    """
    return case.stable != case.memory.stable and record.number != case.rolled_out


def _wanted(case: _Case, record: Record, choice: Choice) -> Wanted:
    """Return what the renderers are told."""
    scaled = rollout.replicas(case.spec, case.live)
    return Wanted(
        case.owner,
        case.spec,
        record,
        scaled,
        rollout.draining(case.spec, record, case.live, case.records, case.observed.pods),
        several=case.spec.autoscaling.max_replicas > 1 if case.spec.autoscaling else (scaled or 0) > 1,
        paused=choice.paused,
        resolving=resolving.under_way(case.observed, case.owner.key.name, record, case.stable),
        pin=resolving.pin(case.observed, case.owner.key.name, record, case.memory),
    )


def _children(case: _Case, desired: Wanted, *, throttled: bool) -> tuple[Manifest, ...]:
    one = throttled and desired.replicas is not None
    limited = replace(
        desired,
        replicas=1 if one else desired.replicas,
        resolving=desired.resolving and resolving.matters(case.live),
    )
    begins = _autoscaler_begins(case)
    return tuple(
        child
        for child in render.desired(limited)
        if not (child["kind"] == revisions.KIND and not desired.record.spec)  # it is lost, and cannot be made again
        and not (child["kind"] == "HorizontalPodAutoscaler" and throttled and begins)
    )


def _autoscaler_begins(case: _Case) -> bool:
    return case.child(Ref("HorizontalPodAutoscaler", names.autoscaler(case.owner.key.name))) is None


def _conflicts(case: _Case, children: tuple[Manifest, ...]) -> tuple[Problem | None, frozenset[Ref]]:
    """Find the children whose names somebody else holds."""
    foreign: dict[Ref, str] = {}
    for child in children:
        live = case.child(ref := _ref(child))
        if live is not None and (holder := case.holder(live)) is not None:
            foreign[ref] = holder
    if not foreign:
        return None, frozenset()
    told = "; ".join(f"{ref} already exists and belongs to {holder}" for ref, holder in foreign.items())
    advice = "it is left alone: delete it, or give this ModelDeployment another name"
    return Problem(Reason.NAME_CONFLICT, loose.one_line(f"{told}; {advice}", wanted.MESSAGE_LENGTH)), frozenset(foreign)


def _unwanted(case: _Case, children: tuple[Manifest, ...]) -> Iterator[Delete]:
    name = case.owner.key.name
    kept = {_ref(child) for child in children}
    for ref in (
        Ref("HorizontalPodAutoscaler", names.autoscaler(name)),
        Ref("PodDisruptionBudget", names.disruption_budget(name)),
    ):
        live = case.child(ref)
        if ref not in kept and live is not None and case.holder(live) is None and not _going(live):
            yield Delete(ref, live["metadata"]["uid"])


def _apply(case: _Case, child: Manifest, throttled: bool) -> Iterator[Apply]:  # noqa: FBT001 - one of two
    live = case.child(_ref(child))
    if live is not None and (_going(live) or child.get("immutable")):
        return  # it is made again when it is gone; what nobody can change is as it was made
    hand_over = None
    if child["kind"] == "Deployment" and not (throttled and live is None):
        hand_over = rollout.hand_over(case.spec, case.live, begins=_autoscaler_begins(case) and not throttled)
    if live is None:
        yield Apply(child, create=True, manager=names.FIELD_MANAGER)
    if hand_over is not None:
        yield Apply(rollout.scale(child, hand_over), create=False, manager=names.SCALE_MANAGER)
    gives_up = hand_over is not None and live is not None and bool(live["metadata"].get(names.OWNS_REPLICAS))
    if live is not None and (gives_up or not compare.in_sync(child, live)):
        yield Apply(child, create=False, manager=names.FIELD_MANAGER)


def _prune(case: _Case, asked: Record, served: Record) -> Iterator[Delete]:
    """Delete old records; their pins belong to them and go with them."""
    known = (asked, *(kept for kept in case.records if kept.number != asked.number))
    pinned = case.spec.pinned_revision
    kept = {number for number in (asked.number, served.number, case.stable, pinned) if number is not None}
    for old in revisions.surplus(known, kept, case.observed.pods, case.spec.rollout.history_limit):
        if old.uid:
            yield Delete(Ref(revisions.KIND, names.revision(case.owner.key.name, old.number)), old.uid)


def _ref(manifest: Manifest) -> Ref:
    return Ref(manifest["kind"], manifest["metadata"]["name"])


def _going(live: Manifest) -> bool:
    return bool(live["metadata"].get("deletionTimestamp"))
