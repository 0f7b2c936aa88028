"""Changes of mind: three specs in ten seconds, a spec that comes back, an end of a rollback that somebody cuts short."""

import time
from functools import partial

import pytest

from dev.kit.eventually import eventually
from dev.kit.fault_proxy import Fault, Kind
from e2e.chaos import snapshot
from e2e.chaos.course import capacity
from e2e.chaos.ground import say
from e2e.chaos.lane import NAME, REVISION_LABEL, Lane

Pods = set[str]


def serving(lane: Lane) -> Pods:
    return {pod["metadata"]["uid"] for pod in snapshot.living(lane.world, NAME)}


def spec(lane: Lane) -> dict[str, object]:
    return dict(lane.world.get("ModelDeployment", NAME)["spec"])


def put(lane: Lane, wanted: dict[str, object]) -> None:
    """Apply exactly this spec."""
    lane.world.patch(NAME, model=wanted["model"], podTemplate=wanted.get("podTemplate"))


def settled(lane: Lane, revision: int) -> bool:
    """Tell whether the newest spec is served by pods of this revision and no others."""
    labels = {pod["metadata"]["labels"][REVISION_LABEL] for pod in snapshot.living(lane.world, NAME)}
    return lane.promoted() and labels == {str(revision)}


@pytest.mark.slow
@pytest.mark.timeout(400, func_only=True)
def test_three_specs_in_ten_seconds_and_back_to_the_first(lane: Lane) -> None:
    """The pods that served all the time serve in the end: nothing was restarted for a spec that was taken back."""
    lane.operator.start()
    lane.create()
    first, before = spec(lane), serving(lane)
    with lane.load(), capacity(lane) as least:
        for model in ("good-b", "wrong", "corrupt"):
            lane.request(model)
            time.sleep(3)
        put(lane, first)
        lane.until(lambda: settled(lane, 1), "the first spec is served again")
        assert least() >= 2
        kept = before & serving(lane)
        say(f"{len(kept)} of {len(before)} pods are the first ones")
    assert lane.world.status(NAME)["currentRevision"] == 1


@pytest.mark.slow
@pytest.mark.timeout(400, func_only=True)
def test_the_last_of_three_wins(lane: Lane) -> None:
    lane.operator.start()
    lane.create()
    with lane.load(), capacity(lane) as least:
        for model in ("wrong", "corrupt", "good-b"):
            lane.request(model)
            time.sleep(3)
        lane.until(lane.promoted, "the last spec is served")
        assert least() >= 2
        history = {entry["revision"]: entry["verdict"] for entry in lane.world.status(NAME)["history"]}
        newest = max(history)
        assert history[newest] == "Ready"
        assert {history[number] for number in history if 1 < number < newest} <= {"Superseded", "Failed"}


@pytest.mark.slow
@pytest.mark.timeout(400, func_only=True)
def test_reverted_while_the_rollback_is_under_way(lane: Lane) -> None:
    """The user is as fast as the operator: the same pods serve, and no trace of a failure is left in Ready."""
    lane.operator.start()
    lane.create()
    first, before = spec(lane), serving(lane)
    with lane.load():
        for delay in (0.0, 0.3, 1.0):
            last = lane.world.status(NAME)["history"][0]["revision"]
            lane.request("corrupt")
            eventually(partial(failed_since, lane, last), "it has failed", 120)
            time.sleep(delay)
            put(lane, first)
            lane.until(lambda: settled(lane, 1), "the first revision is served and is the update revision")
            assert serving(lane) == before
            assert lane.world.condition(NAME, "RolledBack")["status"] == "False"


def failed_since(lane: Lane, last: int) -> bool:
    """Tell whether the newest revision is newer than one, and has failed."""
    newest = lane.world.status(NAME)["history"][0]
    return bool(newest["revision"] > last and newest["verdict"] == "Failed")


@pytest.mark.slow
@pytest.mark.timeout(400, func_only=True)
def test_changed_while_the_api_server_cannot_be_reached(lane: Lane) -> None:
    """The operator hears nothing while a bad spec fails and a good one follows: it goes to the good one at once."""
    lane.operator.start()
    lane.create()
    with lane.load(), capacity(lane) as least:
        base = lane.revision()
        lane.request("corrupt")
        eventually(lambda: lane.running() == base + 1, "the bad revision is under way")
        down = lane.proxy.add(Fault(Kind.RESET))
        time.sleep(8)
        lane.promote()
        time.sleep(2)
        lane.proxy.remove(down)
        lane.until(lane.promoted, "the good spec is served")
        assert least() >= 2


@pytest.mark.slow
@pytest.mark.timeout(400, func_only=True)
def test_failing_pods_deleted_while_they_fail(lane: Lane) -> None:
    """Somebody deletes each bad pod as it comes, with the only words that told why: it still ends in a rollback."""
    lane.operator.start()
    lane.create()
    before = serving(lane)
    with lane.load():
        base = lane.revision()
        lane.request("corrupt")
        until = time.monotonic() + 12
        while time.monotonic() < until:
            for pod in lane.pods(base + 1):
                lane.world.api.delete(lane.world.path("Pod", pod["metadata"]["name"]) + "?gracePeriodSeconds=0")
            time.sleep(1.5)
        lane.until(lane.rolled_back, "rolled back")
        assert serving(lane) == before
