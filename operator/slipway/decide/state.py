"""The state of one ModelDeployment: everything that plan, verdict and status depend on, read once from what is observed."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from slipway.api import ModelDeploymentSpec
from slipway.decide import validation
from slipway.decide.recorded import Recorded
from slipway.domain import lenient, names, revisions
from slipway.domain.names import Owner
from slipway.domain.objects import Key, Manifest, Observed, Pod, Problem, Ref
from slipway.domain.revisions import Pin, Revision

_DEFAULT_DEADLINE_SECONDS = 600
_REJECTED_POD = re.compile(r'^pods? "[^"]*" is forbidden: ')
"""The name in it belongs to one attempt, and to no pod."""


@dataclass(frozen=True, slots=True)
class Counts:
    """The numbers in a Deployment's status, and whether they are about its present spec.

    Attributes:
        observed: the Deployment controller has seen the present spec.
        desired: pods that the Deployment should have.
        replicas: pods that there are, of any revision, without terminating ones.
        updated: of them, those of the Deployment's pod template.
        ready: of all, those that are Ready.
        available: of all, those that have been Ready for long enough.
    """

    observed: bool
    desired: int
    replicas: int
    updated: int
    ready: int
    available: int

    @property
    def replaced(self) -> bool:
        """Whether all pods are of the present template, and none is missing."""
        return self.observed and self.replicas == self.updated >= self.desired

    @property
    def complete(self) -> bool:
        """Whether all desired pods, and no others, exist and are Ready."""
        return self.observed and self.desired == self.replicas == self.updated == self.ready == self.available


@dataclass(frozen=True, slots=True)
class Deployment:
    """The live Deployment of a ModelDeployment.

    Attributes:
        body: as observed.
        revision: of its pod template; 0 if that has no revision label.
        counts: the numbers in its status.
    """

    body: Manifest
    revision: int
    counts: Counts

    @classmethod
    def read(cls, body: Manifest) -> "Deployment":
        """Return the Deployment in an observed body."""
        spec, status = body.get("spec") or {}, body.get("status") or {}
        counts = Counts(
            observed=status.get("observedGeneration", 0) >= body["metadata"].get("generation", 0),
            desired=spec.get("replicas", 1),
            replicas=status.get("replicas", 0),
            updated=status.get("updatedReplicas", 0),
            ready=status.get("readyReplicas", 0),
            available=status.get("availableReplicas", 0),
        )
        return cls(body, names.revision_number(spec.get("template")), counts)

    @property
    def template(self) -> Manifest:
        """Its pod template."""
        return lenient.mapping(self.body, "spec", "template")

    @property
    def owns_replicas(self) -> bool:
        """Whether Slipway's field manager owns `spec.replicas`."""
        return bool(self.body["metadata"].get(names.OWNS_REPLICAS))

    @property
    def terminates_first(self) -> bool:
        """Whether its strategy terminates an old pod before a new one starts."""
        return lenient.mapping(self.body, "spec", "strategy", "rollingUpdate").get("maxSurge") == 0

    @property
    def available(self) -> bool:
        """Whether its condition Available is True."""
        return self.condition("Available").get("status") == "True"

    @property
    def timed_out(self) -> bool:
        """Whether the Deployment controller reports that its present spec has exceeded the progress deadline."""
        return self.counts.observed and self.condition("Progressing").get("reason") == "ProgressDeadlineExceeded"

    @property
    def progress_deadline(self) -> timedelta:
        """How long it may make no progress."""
        seconds = lenient.number(lenient.mapping(self.body, "spec").get("progressDeadlineSeconds"))
        return timedelta(seconds=_DEFAULT_DEADLINE_SECONDS if seconds is None else seconds)

    @property
    def progressed_at(self) -> datetime | None:
        """When its rollout last made progress."""
        try:
            return datetime.fromisoformat(self.condition("Progressing").get("lastUpdateTime", ""))
        except (TypeError, ValueError):
            return None

    @property
    def pod_rejection(self) -> str:
        """Message of the API server if it rejects the creation of pods (quota, admission), else empty.

        It stands in the Deployment's status alone: there is no pod that could report it.
        """
        found = self.condition("ReplicaFailure")
        message = str(found.get("message") or found.get("reason") or "")
        return _REJECTED_POD.sub("", message) if found.get("status") == "True" else ""

    def condition(self, kind: str) -> Manifest:
        """Return one of its conditions, or an empty one."""
        conditions = (self.body.get("status") or {}).get("conditions") or ()
        return next((item for item in conditions if item.get("type") == kind), {})


@dataclass(frozen=True, slots=True)
class State:
    """Everything known of one ModelDeployment that exists.

    Attributes:
        owner: the ModelDeployment as owner of its children.
        metadata: of the ModelDeployment.
        raw_spec: its spec, as JSON.
        status: the last status, as JSON.
        recorded: what decisions need of that status.
        spec: the typed spec; None if it is invalid.
        invalid: why the spec is invalid, or None.
        deployment: the live Deployment, if it is this ModelDeployment's.
        children: see `Observed`.
        pods: see `Observed`.
        revisions: newest first.
        pins: the pins in the cluster, by revision.
        current: the last revision that served completely, the present moment included.
    """

    owner: Owner
    metadata: Manifest
    raw_spec: object
    status: Manifest
    recorded: Recorded
    spec: ModelDeploymentSpec | None
    invalid: Problem | None
    deployment: Deployment | None
    children: Mapping[Ref, Manifest]
    pods: tuple[Pod, ...]
    revisions: tuple[Revision, ...]
    pins: Mapping[int, Pin]
    current: int | None

    @classmethod
    def gather(cls, key: Key, observed: Observed) -> "State":
        """Return the state of a ModelDeployment. Never raises, whatever others wrote into its objects.

        Args:
            key: which ModelDeployment.
            observed: everything known of it; its resource is there.
        """
        resource = observed.resource or {}
        metadata, status = lenient.mapping(resource.get("metadata")), lenient.mapping(resource.get("status"))
        owner = Owner(key, str(metadata.get("uid", "")))
        spec = validation.read(key, resource.get("spec"))
        live = observed.children.get(Ref("Deployment", names.deployment(key.name)))
        deployment = Deployment.read(live) if live is not None and owner.foreign(live) is None else None
        recorded = Recorded.read(status)
        found = revisions.read(observed.children, owner)
        pins = {each.number: revisions.read_pin(observed.children, key.name, each) for each in found}
        return cls(
            owner=owner,
            metadata=metadata,
            raw_spec=resource.get("spec"),
            status=status,
            recorded=recorded,
            spec=None if isinstance(spec, Problem) else spec,
            invalid=spec if isinstance(spec, Problem) else None,
            deployment=deployment,
            children=observed.children,
            pods=observed.pods,
            revisions=found,
            pins={number: pin for number, pin in pins.items() if pin is not None},
            current=_current(None if isinstance(spec, Problem) else spec, deployment, recorded),
        )

    @property
    def key(self) -> Key:
        """Namespace and name of the ModelDeployment."""
        return self.owner.key

    @property
    def deployed(self) -> int:
        """Revision of the Deployment's pod template; 0 without a Deployment."""
        return self.deployment.revision if self.deployment is not None else 0

    @property
    def retry(self) -> str:
        """Value of the retry annotation."""
        return lenient.text(lenient.mapping(self.metadata.get("annotations")).get(names.RETRY_ANNOTATION))

    def recorded_revision(self, number: int | None) -> Revision | None:
        """Return a revision that has a ControllerRevision, or None."""
        return next((revision for revision in self.revisions if revision.number == number), None)

    def revision(self, number: int | None) -> Revision | None:
        """Return a revision; if its ControllerRevision is lost, a stand-in with the pod template that runs, if it runs."""
        found = self.recorded_revision(number)
        if found is None and self.deployment is not None and number == self.deployed != 0:
            return revisions.from_template(number, self.deployment.template)
        return found


def least_replicas(spec: ModelDeploymentSpec) -> int:
    """Return the number of pods with which a revision serves completely."""
    return spec.autoscaling.min_replicas if spec.autoscaling else spec.replicas


def desired_replicas(spec: ModelDeploymentSpec) -> int | None:
    """Return the number of pods that the Deployment is to have; None while an autoscaler owns it."""
    return None if spec.autoscaling else spec.replicas


def _current(spec: ModelDeploymentSpec | None, deployment: Deployment | None, recorded: Recorded) -> int | None:
    """Return the revision that serves completely at this moment, else the one recorded.

    A revision that is scaled to zero serves nothing: it does not become the current one.
    """
    if spec is None or deployment is None:
        return recorded.current
    serves = deployment.counts.complete and deployment.counts.desired >= max(1, least_replicas(spec))
    return (deployment.revision if serves else 0) or recorded.current
