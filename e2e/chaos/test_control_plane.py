"""etcd and the API server killed in the middle of a promotion and of a rollback: the same end, and no failed call."""

from collections.abc import Iterator

import pytest

from e2e.chaos.course import Course
from e2e.chaos.disturbances import control_plane
from e2e.chaos.lane import Lane

CASES = (("kube-apiserver",), ("etcd",), ("etcd", "kube-apiserver"))


@pytest.mark.slow
@pytest.mark.timeout(900, func_only=True)
def test_the_end_is_the_same(own_lane: Lane) -> None:
    own_lane.operator.start()
    own_lane.create()
    course = Course(own_lane)
    with own_lane.load():
        course.learn()
        for components in CASES:
            course.round(control_plane(*components), control_plane(*components))
            assert own_lane.operator.alive(), "a lost API server is no reason to restart the operator"


@pytest.fixture(autouse=True)
def whole_afterwards(own_lane: Lane) -> Iterator[None]:
    """Leave a cluster that works, whatever happened."""
    yield
    own_lane.ground.repair()
