"""kill -9 of the operator at random moments of promotions and rollbacks: the same end as without, and no failed call.

One ModelDeployment lives through all of it under load: round after round a good revision is promoted, then a bad one
fails and is rolled back.
"""

import os
import random

import pytest

from dev.kit.eventually import eventually
from e2e.chaos.course import Course
from e2e.chaos.ground import say
from e2e.chaos.lane import Lane
from e2e.chaos.moments import choose

SEED = int(os.environ.get("SLIPWAY_CHAOS_SEED", "20261122"))
KILLS = int(os.environ.get("SLIPWAY_CHAOS_KILLS", "30"))
BAD = ("corrupt", "wrong")
"""A revision that never loads, and one that loads and answers wrongly; half of the kills with each."""


@pytest.mark.slow
@pytest.mark.timeout(1800, func_only=True)
@pytest.mark.parametrize(
    "number", [pytest.param(n, marks=pytest.mark.xdist_group(f"killed-{n}")) for n in range(len(BAD))]
)
def test_the_end_is_the_same(lane: Lane, number: int) -> None:
    seed = SEED + number
    rng = random.Random(seed)
    kills = KILLS // len(BAD)
    lane.operator.start()
    lane.create()
    course = Course(lane, BAD[number], f"seed {seed}, {BAD[number]}, ")
    with lane.load():
        course.learn()
        for promoting, rolling_back in zip(choose(rng, kills), choose(rng, kills), strict=True):
            course.round(promoting.disturbance(), rolling_back.disturbance())
        eventually(lane.operator.ready, "the operator is well")
    say(f"seed {seed}: {2 * kills} kills; {lane.summary}")
