"""Which revision the spec asks for, and which one the Deployment is brought to. Pure, and derived anew each time.

update   the revision that the spec, or its `pinnedRevision`, asks for
current  the last revision that served completely: all desired pods, nothing else, Ready
target   what the Deployment is brought to: the update revision, or the current one after the update has failed

The order survives a kill at any point: the verdict is written into the status first; only a decision that reads it from
there changes the Deployment back.
"""

from dataclasses import dataclass, replace

from slipway import render
from slipway.api import ModelDeploymentSpec, OnFailure, Reason, Verdict
from slipway.decide import diff, validation
from slipway.decide.state import State
from slipway.domain import pod_defaults, revisions
from slipway.domain.objects import Problem
from slipway.domain.revisions import Revision
from slipway.domain.servers import Defaults, Images, server_image, version_of

_MAX_LISTED = 10


@dataclass(frozen=True, slots=True)
class Target:
    """The revision that the Deployment is brought to.

    Attributes:
        revision: the target revision.
        failed: the update revision has failed.
        paused: it stays as it is and waits for the user.
    """

    revision: Revision
    failed: bool = False
    paused: bool = False


def update_revision(
    state: State, spec: ModelDeploymentSpec, defaults: Defaults
) -> tuple[Revision | None, Problem | None]:
    """Return the update revision.

    If there is none, the revision that was the update before, if any, and the reason why.
    """
    if spec.pinned_revision is not None:
        found = state.recorded_revision(spec.pinned_revision)
        if found is None and state.deployed == spec.pinned_revision:
            found = _lost_revision(state, spec, defaults)
        return (found, None) if found is not None else (_previous(state), _not_found(state, spec.pinned_revision))
    found = _existing(state, spec) or _lost_revision(state, spec, defaults)
    if found is not None and not _retried(state, found):
        return found, None
    if problem := validation.check(spec, defaults):
        return _previous(state), problem
    return _new_revision(state, spec, defaults), None


def choose(state: State, spec: ModelDeploymentSpec, update: Revision) -> Target:
    """Return the target revision.

    A failed revision with none before it stays the target, and Kubernetes goes on trying. One that was rolled back already
    is not deployed again to be paused.
    """
    failed = state.current != update.number and state.recorded.failed(update.number)
    if not failed or state.current is None:
        return Target(update, failed)
    if spec.rollout.on_failure is OnFailure.PAUSE and state.deployed == update.number:
        return Target(update, failed, paused=True)
    current = state.revision(state.current)
    # Without one its ControllerRevision was deleted, and it no longer runs.
    return Target(update, failed) if current is None else Target(current, failed)


def _existing(state: State, spec: ModelDeploymentSpec) -> Revision | None:
    """Return the revision that already is what the spec asks for, or None if that is to become a new revision.

    The current revision is always taken up again: no pod restarts. Any other only while no newer one exists, so that what
    is asked for later is resolved anew. A failed one stays while it is asked for, and is never tried again by itself.
    What is left over from an earlier ModelDeployment of the name is taken up only if it runs: its pin says what that one served.
    """
    part = revisions.part(spec)
    running = {state.current, state.deployed}
    same = [
        revision
        for revision in state.revisions
        if (revision.ours or revision.number in running) and revisions.same(revision.spec, part)
    ]
    if not same:
        return None
    newest = same[0]
    if (current := next((revision for revision in same if revision.number == state.current), None)) is not None:
        return current
    if state.recorded.failed(newest.number):
        return newest
    if state.recorded.verdict(newest.number) is Verdict.FAILED:
        return None  # the spec asked for another one in between: this is a new attempt
    return newest if newest.number in {state.revisions[0].number, state.deployed} else None


def _retried(state: State, revision: Revision) -> bool:
    """Return whether a failed revision is to be tried once more, as a new one.

    Each revision records the retry token of its time, so an old token starts no new attempt.
    """
    used = any(known.retry == state.retry for known in state.revisions)
    return bool(state.retry) and state.recorded.failed(revision.number) and not used


def _previous(state: State) -> Revision | None:
    return state.revision(state.recorded.update) or state.revision(state.deployed)


def _not_found(state: State, pinned: int) -> Problem:
    numbers = [revision.number for revision in state.revisions[:_MAX_LISTED]]
    failed = {number for number in numbers if state.recorded.verdict(number) is Verdict.FAILED}
    known = ", ".join(f"{number} (failed)" if number in failed else str(number) for number in numbers)
    fix = f"choose one of {known}, or remove the field" if known else "remove the field"
    return Problem(Reason.REVISION_NOT_FOUND, f"spec.pinnedRevision: there is no revision {pinned}: {fix}")


def _lost_revision(state: State, spec: ModelDeploymentSpec, defaults: Defaults) -> Revision | None:
    """Recreate the deployed revision if its ControllerRevision was deleted and the spec still asks for the same."""
    number, deployment = state.deployed, state.deployment
    if deployment is None or number == 0 or any(revision.number >= number for revision in state.revisions):
        return None
    images = revisions.images_of(deployment.template)
    if images is None:
        return None
    as_before = replace(defaults, pods=pod_defaults.used_in(deployment.template))
    revision = _render(state, spec, number, images, as_before)
    return revision if diff.in_sync(revision.template, deployment.template) else None


def _new_revision(state: State, spec: ModelDeploymentSpec, defaults: Defaults) -> Revision:
    known = {state.deployed, *state.recorded.history, *(pod.revision for pod in state.pods)}
    number = revisions.highest_number(state.children, state.key.name, known) + 1
    images = Images(server_image(spec.runtime, spec.gpu, defaults), defaults.tools_image, defaults.pull_policy)
    return _render(state, spec, number, images, defaults)


def _render(state: State, spec: ModelDeploymentSpec, number: int, images: Images, defaults: Defaults) -> Revision:
    version = version_of(spec.runtime, defaults)
    template = render.pod_template(state.owner, number, spec, images, version, defaults.pods)
    return revisions.new(number, spec, images, template, state.retry)
