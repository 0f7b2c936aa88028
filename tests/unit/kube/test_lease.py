"""Leader election, with clocks that the test advances and an API server in memory."""

import copy
from datetime import UTC, datetime

import pytest

from slipway.domain.objects import Manifest
from slipway.kube import ConflictError, NotFoundError, RetryableError
from slipway.kube.lease import LEASE_SECONDS, RENEW_DEADLINE, LeaderElector


class Server:
    """One Lease with optimistic locking."""

    def __init__(self) -> None:
        self.lease: Manifest | None = None
        self.version = 0
        self.down = False
        self.writes = 0

    def _check(self) -> None:
        if self.down:
            raise RetryableError("down")

    def _keep(self, body: Manifest) -> Manifest:
        self.version += 1
        self.writes += 1
        self.lease = copy.deepcopy(body)
        self.lease["metadata"]["resourceVersion"] = str(self.version)
        return copy.deepcopy(self.lease)

    async def get(self, kind: str, namespace: str, name: str, within: float) -> Manifest:
        self._check()
        if self.lease is None:
            raise NotFoundError("none")
        return copy.deepcopy(self.lease)

    async def create(self, kind: str, namespace: str, body: Manifest, within: float) -> Manifest:
        self._check()
        if self.lease is not None:
            raise ConflictError("exists")
        return self._keep(body)

    async def replace(self, kind: str, namespace: str, name: str, body: Manifest, within: float) -> Manifest:
        self._check()
        assert self.lease is not None
        if body["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise ConflictError("changed")
        return self._keep(body)


class Time:
    def __init__(self) -> None:
        self.seconds = 100.0
        self.wall = datetime(2026, 1, 1, tzinfo=UTC)

    def clock(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return self.wall


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def time() -> Time:
    return Time()


def candidate(server: Server, time: Time, name: str, changes: list[bool] | None = None) -> LeaderElector:
    recorded = [] if changes is None else changes
    return LeaderElector(server, "ns", "lease", name, clock=time.clock, now=time.now, on_change=recorded.append)


async def step(elector: LeaderElector) -> None:
    try:
        await elector._step()
    except RetryableError:
        elector._lease = None
    elector._publish()


async def test_the_first_creates_the_lease_and_the_second_waits(server: Server, time: Time) -> None:
    changes: list[bool] = []
    first, second = candidate(server, time, "a", changes), candidate(server, time, "b")
    await step(first)
    await step(second)
    assert (first.leading(), second.leading(), changes) == (True, False, [True])
    assert first.remaining() == RENEW_DEADLINE
    assert second.remaining() < 0


async def test_a_silent_leader_loses_before_another_may_take_over(server: Server, time: Time) -> None:
    first, second = candidate(server, time, "a"), candidate(server, time, "b")
    await step(first)
    await step(second)
    silent = time.seconds
    while not second.leading():
        time.seconds += 0.1
        first._publish()
        await step(second)
        assert not (first.leading() and second.leading())
        assert time.seconds <= silent + LEASE_SECONDS + 0.15, "no longer than the lease lasts"
    assert not first.leading()


async def test_the_wall_clock_decides_nothing(server: Server, time: Time) -> None:
    first, second = candidate(server, time, "a"), candidate(server, time, "b")
    await step(first)
    for year in (1980, 2090, 2026):
        time.wall = datetime(year, 1, 1, tzinfo=UTC)
        await step(second)
        assert not second.leading()
        time.seconds += 3
        await step(first)
        assert first.leading()


async def test_a_holder_that_renews_is_never_taken_over(server: Server, time: Time) -> None:
    first, second = candidate(server, time, "a"), candidate(server, time, "b")
    await step(first)
    for _ in range(50):
        time.seconds += 3
        await step(first)
        await step(second)
        assert first.leading()
        assert not second.leading()


async def test_another_holders_lease_is_not_renewed(server: Server, time: Time) -> None:
    first = candidate(server, time, "a")
    await step(first)
    assert server.lease is not None
    server.lease["spec"]["holderIdentity"] = "other"
    server.lease["metadata"]["resourceVersion"] = "77"
    for _ in range(4):
        time.seconds += RENEW_DEADLINE / 3
        await step(first)
        assert server.lease["spec"]["holderIdentity"] == "other"
    assert not first.leading()
    time.seconds += LEASE_SECONDS + 1
    await step(first)
    assert first.leading(), "the other one has not renewed"


async def test_an_outage_ends_leadership_and_the_same_process_acquires_it_again(server: Server, time: Time) -> None:
    changes: list[bool] = []
    leader = candidate(server, time, "a", changes)
    await step(leader)
    server.down = True
    for _ in range(5):
        time.seconds += 2
        await step(leader)
    assert not leader.leading()
    assert leader.remaining() <= 0
    server.down = False
    await step(leader)
    assert leader.leading()
    assert changes == [True, False, True]
    assert server.lease is not None
    assert server.lease["spec"]["leaseTransitions"] == 0, "no other process has held it"


async def test_a_released_lease_is_free_at_once(server: Server, time: Time) -> None:
    first, second = candidate(server, time, "a"), candidate(server, time, "b")
    await step(first)
    await first.release()
    assert not first.leading()
    await step(second)
    assert second.leading()
    assert server.lease is not None
    assert server.lease["spec"]["leaseTransitions"] == 2, "from a to none, from none to b"


async def test_a_standby_releases_nothing(server: Server, time: Time) -> None:
    first, second = candidate(server, time, "a"), candidate(server, time, "b")
    await step(first)
    await step(second)
    writes = server.writes
    await second.release()
    assert server.writes == writes
