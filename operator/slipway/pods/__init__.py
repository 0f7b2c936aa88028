"""What is kept of a pod: where it is on its way, and in whose words it is stuck. Runs once for each news of a pod.

The states are found by a chain of small checks, from the end of a pod's life to its beginning; the first that speaks
wins. Trouble stays said while a container tries again, until it has come further than where it failed: the state of a
pod that fails in a loop would otherwise change with every turn.
"""

from collections.abc import Callable

from slipway import loose, names
from slipway.observed import Manifest, Pod
from slipway.pods import facts, fetching, placing, serving
from slipway.pods.facts import MESSAGE_LENGTH, Facts, Finding

__all__ = ["MESSAGE_LENGTH", "project"]

_CHECKS: tuple[Callable[[Facts], Finding | None], ...] = (
    placing.terminating,
    placing.ended,
    placing.not_scheduled,
    serving.ready,
    placing.image_missing,
    placing.not_created,
    fetching.failed,
    fetching.others_failed,
    fetching.going_on,
    serving.server_failed,
    serving.pilot_failed,
    serving.unhealthy,
    serving.on_its_way,
)


def project(body: Manifest) -> Pod:
    """Return what matters of a pod's JSON; whatever is missing in it is taken as not having happened yet."""
    read = facts.read(body)
    finding = next(found for check in _CHECKS if (found := check(read)) is not None)
    fetched = fetching.found(read.fetch)
    version, digest = fetched.get("version"), fetched.get("digest")
    scheduled = read.conditions.get("PodScheduled", {})
    return Pod(
        name=loose.text(read.metadata.get("name")),
        revision=names.revision_number(body),
        state=finding.state,
        reason=finding.reason,
        message=loose.one_line(finding.message, MESSAGE_LENGTH),
        failed=finding.failed,
        restarts=facts.restarts(read.server) if finding.restarts is None else finding.restarts,
        model_version=loose.number(version),
        digest=digest if isinstance(digest, str) else None,
        scheduled=facts.moment(scheduled.get("lastTransitionTime")) if scheduled.get("status") == "True" else None,
        patience=finding.patience,
        due=facts.moment(read.metadata.get("deletionTimestamp")),
    )
