"""Decides what to do about one ModelDeployment: a pure function of what is observed. Between the store and the cluster.

read the spec → find the revision that it asks for → render → compare with what lives → actions, in order.

Order of actions: an autoscaler that is no longer wanted goes first, so that it does not fight for the number of pods;
then the record of the revision, Services, Deployment, disruption budget, autoscaler; old records go last.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from slipway import compare, loose, names, render, revisions, rollout, runtimes, wanted
from slipway.api import ModelDeploymentSpec, Reason
from slipway.observed import Apply, Delete, Key, Manifest, Observed, Plan, Problem, Ref
from slipway.render import Owner, Wanted
from slipway.revisions import Record
from slipway.runtimes import Defaults, Images

CONFLICT_SECONDS = 60.0
"""When a name that somebody else holds is tried again: his object may carry no label and bring no event."""


@dataclass(frozen=True, slots=True)
class _Case:
    """One decision's input, read once."""

    owner: Owner
    spec: ModelDeploymentSpec
    observed: Observed
    live: Manifest | None
    """The Deployment, if it is this ModelDeployment's."""
    records: tuple[Record, ...]

    def child(self, ref: Ref) -> Manifest | None:
        return self.observed.children.get(ref)

    def holder(self, body: Manifest) -> str | None:
        return names.holder(body, self.owner.key.name, self.owner.uid)


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
    records = revisions.read(observed.children, key.name, owner.uid)
    case = _Case(owner, spec, observed, rollout.live_deployment(key, owner.uid, observed.children), records)
    record = _recorded(case) or _lost_record(case, defaults)
    if record is None:
        if problem := wanted.check(spec, defaults):
            return Plan(problem=problem)
        record = _new_record(case, defaults)
    return _plan(case, record, now)


def _recorded(case: _Case) -> Record | None:
    """Return the newest record that is of what the spec asks for, unless something newer was rolled out since.

    Records newer than that are of revisions that never got anywhere, because the API server refused them or the spec
    was changed back at once: going back from them restarts no pod.
    """
    rolled_out, asked = rollout.number(case.live), revisions.part(case.spec)
    for record in case.records:
        if record.number < rolled_out:
            return None
        if revisions.same(record.spec, asked):
            return record
    return None


def _lost_record(case: _Case, defaults: Defaults) -> Record | None:
    """Make the record of the revision that is rolled out anew, if it was deleted and the spec still asks for the same."""
    number = rollout.number(case.live)
    if case.live is None or number == 0 or any(record.number >= number for record in case.records):
        return None
    live = case.live.get("spec", {}).get("template", {})
    images = revisions.images_of(live)
    if images is None:
        return None
    record = _record(case, number, images, defaults)
    return record if compare.in_sync(record.template, live) else None


def _new_record(case: _Case, defaults: Defaults) -> Record:
    taken = revisions.highest_number(case.observed.children, case.owner.key.name, rollout.number(case.live))
    server = runtimes.server_image(case.spec.runtime, case.spec.gpu, defaults)
    return _record(case, taken + 1, Images(server, defaults.tools_image, defaults.pull_policy), defaults)


def _record(case: _Case, number: int, images: Images, defaults: Defaults) -> Record:
    version = runtimes.version_of(case.spec.runtime, defaults)
    template = render.template(case.owner.key.name, number, case.spec, images, version)
    return revisions.make(number, case.spec, images, template)


def _plan(case: _Case, record: Record, now: datetime) -> Plan:
    scaled = rollout.replicas(case.spec, case.live)
    draining = rollout.draining(case.spec, record, case.live, case.records, case.observed.pods)
    several = case.spec.autoscaling.max_replicas > 1 if case.spec.autoscaling else (scaled or 0) > 1
    children = render.desired(Wanted(case.owner, case.spec, record, scaled, draining, several))
    problem, foreign = _conflicts(case, children)
    if Ref("Deployment", names.deployment(case.owner.key.name)) in foreign:
        return Plan(revision=record.number, problem=problem, wake_after=CONFLICT_SECONDS, scaled=scaled)
    actions: tuple[Apply | Delete, ...] = (
        *_unwanted(case, children),
        *(action for child in children if _ref(child) not in foreign for action in _apply(case, child)),
        *_prune(case, record),
    )
    deadline = rollout.seconds_left(case.spec, case.live, record, now)
    wakes = [seconds for seconds in (deadline, CONFLICT_SECONDS if problem else None) if seconds is not None]
    return Plan(actions, record.number, problem, min(wakes, default=None), draining, scaled)


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


def _apply(case: _Case, child: Manifest) -> Iterator[Apply]:
    live = case.child(_ref(child))
    if live is not None and _going(live):
        return  # it is made again when it is gone
    is_deployment = child["kind"] == "Deployment"
    hand_over = rollout.hand_over(case.spec, case.live) if is_deployment else None
    if live is None:
        yield Apply(child, create=True, manager=names.FIELD_MANAGER)
    if hand_over is not None:
        yield Apply(_scale(child, hand_over), create=False, manager=names.SCALE_MANAGER)
    if live is not None and (hand_over is not None or not compare.in_sync(child, live)):
        yield Apply(child, create=False, manager=names.FIELD_MANAGER)


def _scale(deployment: Manifest, replicas: int) -> Manifest:
    metadata = deployment["metadata"]
    return {
        "apiVersion": deployment["apiVersion"],
        "kind": deployment["kind"],
        "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]},
        "spec": {"replicas": replicas},
    }


def _prune(case: _Case, record: Record) -> Iterator[Delete]:
    known = (record, *(kept for kept in case.records if kept.number != record.number))
    limit = case.spec.rollout.history_limit
    for old in revisions.surplus(known, record.number, case.observed.pods, limit):
        yield Delete(Ref(revisions.KIND, names.revision(case.owner.key.name, old.number)), old.uid)


def _ref(manifest: Manifest) -> Ref:
    return Ref(manifest["kind"], manifest["metadata"]["name"])


def _going(live: Manifest) -> bool:
    return bool(live["metadata"].get("deletionTimestamp"))
