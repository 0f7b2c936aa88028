"""Calls spread over the pods: new pods get their share of old channels, and no pod gets much more than another."""

import pytest

from dev.kit.kubectl import Kubectl
from dev.kit.load import control, observe
from e2e.lib.loaded_model import CHANNELS, FULL, LATE_MILLIS, NAME, OLD, RATE, Model
from slipway.render import termination

LIFE_SECONDS = 1.1 * termination.AGE_SECONDS + termination.PROPAGATION_SECONDS
"""After so long every connection that was there has been made anew."""
EVEN = 0.10

pytestmark = pytest.mark.timeout(900)


def test_new_pods_get_their_share_of_old_channels(namespace: Kubectl) -> None:
    """Channels that were all opened to one pod spread by themselves, because connections end by age."""
    model = Model(namespace, 1)
    model.serve(OLD)
    plan = control.plans(namespace, NAME, NAME, rate=RATE, channels=64, fresh=0)["ClusterIP"]
    with control.against({"ClusterIP": plan}) as loads:
        loads.more(100)
        model.scale(4)
        loads.more(int(RATE * LIFE_SECONDS))
        before = observe.answered(namespace, NAME)
        loads.more(int(RATE * 20))
        counts = observe.between(before, observe.answered(namespace, NAME))
    assert control.lost(loads.reports()) == {}
    share = sum(counts.values()) / len(counts)
    # 64 channels choose one of 4 pods: 16 each on average, fewer than 4 once in ten thousand runs.
    assert min(counts.values()) > share / 4, counts


def test_a_client_that_balances_itself_spreads_its_calls_evenly(namespace: Kubectl) -> None:
    counts = spread(namespace, "headless", channels=CHANNELS, seconds=60 if FULL else 30)
    assert observe.unevenness(counts) < EVEN, counts


@pytest.mark.skipif(not FULL, reason="takes thousands of connections: SLIPWAY_LOAD_CALLS")
def test_many_channels_through_the_service_spread_their_calls_evenly(namespace: Kubectl) -> None:
    # Each connection is one draw of a pod. Within 10 % at 4 standard deviations takes 4800 draws, an age of 25 s each.
    counts = spread(namespace, "ClusterIP", channels=600, seconds=200)
    assert observe.unevenness(counts) < EVEN, counts


def spread(kubectl: Kubectl, kind: str, *, channels: int, seconds: float) -> dict[str, int]:
    """Return how many calls each of four pods answered, through one kind of Service."""
    Model(kubectl, 4).serve(OLD)
    plan = control.plans(kubectl, NAME, NAME, rate=RATE, channels=channels, fresh=0)[kind]
    with control.against({kind: plan}) as loads:
        # A name is resolved again only when a connection ends: until then a client may not know all pods.
        loads.more(int(RATE * LIFE_SECONDS))
        before = observe.answered(kubectl, NAME)
        loads.more(int(RATE * seconds), seconds=2 * seconds + 60)
        counts = observe.between(before, observe.answered(kubectl, NAME))
    reports = loads.reports()
    control.judge(reports, int(RATE * seconds), LATE_MILLIS)
    assert control.lost(reports) == {}
    return counts
