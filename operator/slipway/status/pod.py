"""Projects a pod's JSON onto the few facts that are kept. Runs when the cache receives the pod.

A chain of small checks, from the end of a pod's life to its beginning; the first that applies decides. A fault is reported
while a container tries again, until it has come further than where it failed: the state of a pod that fails in a loop would
otherwise change with every attempt.
"""

from collections.abc import Callable

from slipway.domain import lenient, names, versions
from slipway.domain.objects import Manifest, Pod
from slipway.status import fetching, pod_facts, scheduling, serving
from slipway.status.pod_facts import MESSAGE_LENGTH, Facts, Finding

_CHECKS: tuple[Callable[[Facts], Finding | None], ...] = (
    scheduling.terminating,
    scheduling.ended,
    scheduling.not_scheduled,
    serving.ready,
    scheduling.image_not_pulled,
    scheduling.not_created,
    fetching.failed,
    fetching.others_failed,
    fetching.in_progress,
    serving.server_failed,
    serving.prober_failed,
    serving.unhealthy,
    serving.starting,
)


def project(body: Manifest) -> Pod:
    """Return what is kept of a pod's JSON; what is missing in it has not happened yet."""
    facts = pod_facts.read(body)
    finding = next(found for check in _CHECKS if (found := check(facts)) is not None)
    fetched = fetching.reported(facts.fetch)
    version, digest = fetched.get("version"), fetched.get("digest")
    scheduled = facts.conditions.get("PodScheduled", {})
    return Pod(
        name=lenient.text(facts.metadata.get("name")),
        revision=names.revision_number(body),
        state=finding.state,
        reason=finding.reason,
        message=lenient.one_line(finding.message, MESSAGE_LENGTH),
        failed=finding.failed,
        restarts=pod_facts.restarts(facts.server) if finding.restarts is None else finding.restarts,
        model_version=versions.read(version),
        digest=digest if isinstance(digest, str) else None,
        scheduled_at=pod_facts.moment(scheduled.get("lastTransitionTime"))
        if scheduled.get("status") == "True"
        else None,
        grace_seconds=finding.grace_seconds,
        deletion_deadline=pod_facts.moment(facts.metadata.get("deletionTimestamp")),
    )
