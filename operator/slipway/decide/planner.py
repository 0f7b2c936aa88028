"""Decides what to do about one ModelDeployment: spec → update and target revision → desired children → actions, in order.

An autoscaler that is no longer wanted is deleted first, so that it does not fight for the number of pods; then come the
ControllerRevision and its pin, Services, Deployment, disruption budget, autoscaler; old revisions are deleted last.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from slipway import render
from slipway.api import ModelDeploymentSpec, Reason
from slipway.decide import diff, pinning, rollout, target, verdict
from slipway.decide.plan import Plan
from slipway.decide.state import State, desired_replicas
from slipway.decide.target import Target
from slipway.decide.validation import MESSAGE_LENGTH
from slipway.domain import lenient, names, revisions
from slipway.domain.objects import Action, Apply, Delete, Manifest, Problem, Ref
from slipway.domain.revisions import Revision
from slipway.domain.servers import Defaults
from slipway.render import RenderInput
from slipway.render.deployment import scale
from slipway.render.revision_objects import controller_revision

CONFLICT_SECONDS = 60.0
"""Retry interval of a name conflict: the other object may carry no label, so its deletion may bring no event."""


def make_plan(state: State, defaults: Defaults, now: datetime) -> Plan:
    """Return what to do now. Never raises.

    Args:
        state: of a ModelDeployment that is not being deleted.
        defaults: the operator's settings for new revisions.
        now: the present time, aware.
    """
    spec = state.spec
    if spec is None:
        return Plan(problem=state.invalid)
    update, problem = target.update_revision(state, spec, defaults)
    if update is None:
        return Plan(problem=problem)
    chosen = target.choose(state, spec, update)
    unresolved = pinning.unresolved(state, chosen.revision)
    held_at_one = unresolved and pinning.starts_with_one(state, spec)
    replicas = desired_replicas(spec)
    given = _render_input(state, spec, chosen, replicas, unresolved=unresolved, held_at_one=held_at_one)
    children = _children(state, given, held_at_one=held_at_one)
    conflict, foreign = _conflicts(state, children)
    plan = Plan(
        problem=problem or conflict,
        update=update.number,
        target=chosen.revision.number,
        current=state.current,
        failed=chosen.failed,
        paused=chosen.paused,
        pinned=spec.pinned_revision is not None,
        replicas=replicas,
        terminate_first=given.terminate_first,
        held_at_one=held_at_one,
    )
    deployment = Ref("Deployment", names.deployment(state.key.name))
    if deployment in foreign:
        return replace(plan, requeue_after=CONFLICT_SECONDS)
    skipped = foreign | ({deployment} if _current_unrecorded(state, chosen.revision) else set())
    kept = tuple(child for child in children if Ref.to(child) not in skipped)
    actions: tuple[Action, ...] = (
        *_unwanted(state, children),
        *(action for child in kept for action in _apply(state, spec, child, held_at_one=held_at_one)),
        *_adopt(state, chosen.revision),
        *_prune(state, spec, update, chosen.revision),
    )
    waits = (
        rollout.seconds_to_deadline(state, spec, chosen.revision, now),
        verdict.seconds_to_failure(state, update.number, now),
        CONFLICT_SECONDS if conflict else None,
    )
    return replace(plan, actions=actions, requeue_after=min((wait for wait in waits if wait is not None), default=None))


def _current_unrecorded(state: State, revision: Revision) -> bool:
    """Return whether the Deployment is about to leave a revision of which only the Deployment shows that it is current.

    The status has to record that first: an operator that is killed in between would go back to an older one.
    """
    return state.current != state.recorded.current and revision.number != state.deployed


def _render_input(
    state: State,
    spec: ModelDeploymentSpec,
    chosen: Target,
    replicas: int | None,
    *,
    unresolved: bool,
    held_at_one: bool,
) -> RenderInput:
    return RenderInput(
        state.owner,
        spec,
        chosen.revision,
        1 if held_at_one and replicas is not None else replicas,
        rollout.terminate_first(state, spec, chosen.revision),
        several=spec.autoscaling.max_replicas > 1 if spec.autoscaling else (replicas or 0) > 1,
        paused=chosen.paused,
        one_by_one=unresolved and pinning.several_follow(state),
        pin=pinning.pin(state, chosen.revision),
    )


def _children(state: State, given: RenderInput, *, held_at_one: bool) -> tuple[Manifest, ...]:
    """Return the desired children, without those that have to wait."""
    waiting = set()
    if not given.revision.spec:  # its ControllerRevision is lost, and cannot be created again
        waiting.add(revisions.KIND)
    if held_at_one and _new_autoscaler(state):
        waiting.add("HorizontalPodAutoscaler")
    return tuple(child for child in render.children(given) if child["kind"] not in waiting)


def _new_autoscaler(state: State) -> bool:
    return Ref("HorizontalPodAutoscaler", names.autoscaler(state.key.name)) not in state.children


def _conflicts(state: State, children: tuple[Manifest, ...]) -> tuple[Problem | None, frozenset[Ref]]:
    """Find the children whose names objects of other owners have."""
    foreign: dict[Ref, str] = {}
    for ref in map(Ref.to, children):
        live = state.children.get(ref)
        if live is not None and (owner := state.owner.foreign(live)) is not None:
            foreign[ref] = owner
    if not foreign:
        return None, frozenset()
    found = "; ".join(f"{ref} already exists and belongs to {owner}" for ref, owner in foreign.items())
    message = f"{found}; it is left alone: delete it, or give this ModelDeployment another name"
    return Problem(Reason.NAME_CONFLICT, lenient.one_line(message, MESSAGE_LENGTH)), frozenset(foreign)


def _unwanted(state: State, children: tuple[Manifest, ...]) -> Iterator[Delete]:
    name = state.key.name
    wanted = {Ref.to(child) for child in children}
    for ref in (
        Ref("HorizontalPodAutoscaler", names.autoscaler(name)),
        Ref("PodDisruptionBudget", names.disruption_budget(name)),
    ):
        live = state.children.get(ref)
        if ref not in wanted and live is not None and state.owner.foreign(live) is None and not _terminating(live):
            yield Delete(ref, live["metadata"]["uid"])


def _apply(state: State, spec: ModelDeploymentSpec, child: Manifest, *, held_at_one: bool) -> Iterator[Apply]:
    live = state.children.get(Ref.to(child))
    if live is not None and (_terminating(live) or child.get("immutable")):
        return  # it is created again once it is gone; an immutable one stays as it was created
    replicas = None
    if child["kind"] == "Deployment" and not (held_at_one and live is None):
        replicas = rollout.hand_over(state, spec, new_autoscaler=_new_autoscaler(state) and not held_at_one)
    if live is None:
        yield Apply(child, create=True, manager=names.FIELD_MANAGER)
    if replicas is not None:
        yield Apply(scale(child, replicas), create=False, manager=names.SCALE_MANAGER)
    gives_up = replicas is not None and live is not None and bool(live["metadata"].get(names.OWNS_REPLICAS))
    if live is not None and (gives_up or not diff.in_sync(child, live)):
        yield Apply(child, create=False, manager=names.FIELD_MANAGER)


def _adopt(state: State, chosen: Revision) -> Iterator[Apply]:
    """Adopt the other revisions without a controller, as after a restore: the garbage collector then deletes them, too."""
    for revision in state.revisions:
        ref = Ref(revisions.KIND, names.revision(state.key.name, revision.number))
        live = state.children[ref]
        if revision.number != chosen.number and not state.owner.controls(live) and not _terminating(live):
            record = controller_revision(state.owner, revision)
            manifest = {field: record[field] for field in ("apiVersion", "kind", "metadata")}
            yield Apply(manifest, create=False, manager=names.OWNER_MANAGER)


def _prune(state: State, spec: ModelDeploymentSpec, update: Revision, chosen: Revision) -> Iterator[Delete]:
    """Delete old revisions; the garbage collector deletes their pins with them."""
    known = (update, *(revision for revision in state.revisions if revision.number != update.number))
    numbers = (update.number, chosen.number, state.current, spec.pinned_revision)
    kept = {number for number in numbers if number is not None}
    for old in revisions.surplus(known, kept, state.pods, spec.rollout.revision_history_limit):
        if old.uid:
            yield Delete(Ref(revisions.KIND, names.revision(state.key.name, old.number)), old.uid)


def _terminating(live: Manifest) -> bool:
    return bool(live["metadata"].get("deletionTimestamp"))
