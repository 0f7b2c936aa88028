"""The plan: the outcome of a decision, for the executor and the status."""

from dataclasses import dataclass

from slipway.domain.objects import Action, Problem


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now, and what the status needs to know of the decision.

    Attributes:
        actions: in order; empty if everything is as it should be.
        problem: why the spec cannot be carried out (invalid, name conflict), or None.
        requeue_after: seconds until the decision should be made again without an event; None for never.
        update: the update revision; None if the spec is invalid and no revision exists.
        target: the revision that the Deployment is brought to.
        current: the last revision that served completely, the present moment included; None before the first.
        failed: the update revision has failed, as a written status records.
        paused: and stays as it is until the user acts.
        pinned: the spec asks for the update revision by its number.
        replicas: number of pods that the Deployment is to have; None while an autoscaler owns it.
        terminate_first: the rollout terminates an old pod before it starts a new one.
        held_at_one: the Deployment has one pod, although more are desired, until that pod has reported what it fetched.
    """

    actions: tuple[Action, ...] = ()
    problem: Problem | None = None
    requeue_after: float | None = None
    update: int | None = None
    target: int | None = None
    current: int | None = None
    failed: bool = False
    paused: bool = False
    pinned: bool = False
    replicas: int | None = None
    terminate_first: bool = False
    held_at_one: bool = False
