"""Trouble in the middle of a promotion and in the middle of a rollback: the same end as without, and no failed call.

One ModelDeployment lives through all of it under load; the tests of a module run in order.
"""

from collections.abc import Iterator

import pytest

from dev.kit.fault_proxy import Fault, Kind
from e2e.chaos import disturbances as trouble
from e2e.chaos.conftest import CLUSTER, fresh_world, sharing
from e2e.chaos.course import Course, Disturbance
from e2e.chaos.ground import Ground
from e2e.chaos.lane import NAME, Lane

TOO_MANY = Fault(Kind.STATUS, status=429, headers={"Retry-After": "1"}, message="too many requests, try later")
BROKEN = Fault(Kind.STATUS, status=500, message="etcdserver: no leader")
CONFLICT = Fault(Kind.STATUS, status=409, message="Operation cannot be fulfilled: the object has been modified")
READS = {"get", "list", "watch"}
TROUBLE = (
    trouble.storm("429 to half of all requests", TOO_MANY, share=0.5),
    trouble.storm("500 to everything", BROKEN),
    trouble.storm("500 to every list and watch", BROKEN, verbs=READS),
    trouble.storm("409 to every write", CONFLICT, verbs={"patch"}),
    trouble.storm("half of the connections reset", Fault(Kind.RESET), share=0.5),
    trouble.watch_errors(500),
    trouble.watch_errors(410),
    trouble.silent_watches(),
    trouble.unanswered_writes(),
    trouble.second_writer(),
    trouble.frozen(),
    trouble.upgrade("--runtime-version=2.19.0", "--tools-image=slipway/tools:9.9.9", "--image-pull-policy=Always"),
    trouble.stuck_pods(),
    trouble.poison(),
    trouble.deleted("PodDisruptionBudget", lambda _: NAME),
    trouble.deleted("ControllerRevision", lambda lane: f"{NAME}-{lane.running()}"),
    trouble.deleted("ConfigMap", lambda lane: f"{NAME}-{lane.running()}"),
)


@pytest.fixture(scope="module")
def course(prepared: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Course]:
    """A ModelDeployment under load whose undisturbed rounds are known."""
    with sharing():
        ground = Ground(CLUSTER)
        folder = tmp_path_factory.mktemp("troubled")
        with fresh_world(ground, "troubled") as world, Lane(ground, world, folder) as lane:
            lane.flags += ("--watch-idle-seconds=5", "--request-timeout-seconds=2")
            lane.operator = lane.another(*lane.flags)
            lane.operator.start()
            lane.create()
            found = Course(lane)
            with lane.load():
                found.learn()
                yield found


@pytest.mark.slow
@pytest.mark.xdist_group("troubled")
@pytest.mark.timeout(600, func_only=True)
@pytest.mark.parametrize("disturbance", TROUBLE, ids=lambda disturbance: disturbance.words.replace(" ", "-"))
def test_the_end_is_the_same(course: Course, disturbance: Disturbance) -> None:
    course.round(promoting=disturbance, rolling_back=disturbance)
    assert course.lane.operator.alive()
