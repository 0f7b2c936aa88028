"""No request is lost: whatever takes pods away, calls over held and over new channels go on, through both Services.

Every scenario runs under an open-loop load until the last pod that had to go is gone, for that is when calls are lost.
Without graceful termination, calls are lost. By default a few thousand calls go through each Service, all
scenarios one after the other under one load; `SLIPWAY_LOAD_CALLS=100000` sends at least that many through each, a
scenario at a time, and needs the machine for itself. A drained node needs a second one:
`python -m dev.cluster up --nodes 2`.
"""

import json
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from dev.kit import wait
from dev.kit.conditions import current
from dev.kit.installation import OPERATOR_NAMESPACE, OPERATOR_SELECTOR
from dev.kit.kubectl import Kubectl, KubectlError
from dev.kit.load import control, dns_cache, observe
from dev.kit.model_deployments import KIND, pods, selector, uids
from e2e.conftest import alone
from e2e.lib import plain_deployment
from e2e.lib.loaded_model import (
    ANSWERS,
    BAD,
    CALLS,
    CHANNELS,
    FRESH,
    FULL,
    LATE_MILLIS,
    NAME,
    NEW,
    OLD,
    RATE,
    Model,
    ready_pods,
)

pytestmark = pytest.mark.timeout(900)


def update(model: Model) -> None:
    """A new model, pod by pod."""
    model.serve(NEW if model.uri == OLD else OLD)


def supersede(model: Model) -> None:
    """A newer wish while the one before is being rolled out, which is what was served at first."""
    first = model.uri
    model.apply(NEW if first == OLD else OLD)
    observe.settled(model.kubectl, lambda: len(pods(model.kubectl, NAME)) > model.replicas, "a pod more", 60)
    model.serve(first)


def rollback(model: Model) -> None:
    """A model that cannot be loaded: it is given up by itself, and what was served goes on."""
    good = model.uri
    model.apply(BAD)
    wait.until(model.kubectl, KIND, NAME, lambda state: current(state, "RolledBack")["status"] == "True", 240)
    observe.settled(model.kubectl, lambda: len(pods(model.kubectl, NAME)) == model.replicas, "the bad pod's end", 60)
    model.serve(good)


def scale_down(model: Model) -> None:
    """Half of the pods go at once."""
    model.scale(2 * model.replicas)
    model.scale(model.replicas // 2)


def evict(model: Model) -> None:
    """Every pod is evicted, as fast as the budget lets."""
    for pod in pods(model.kubectl, NAME):
        name = pod["metadata"]["name"]
        observe.settled(model.kubectl, partial(evicted, model.kubectl, name), f"{name} evicted", 120)
    observe.settled(model.kubectl, lambda: len(ready_pods(model.kubectl)) == model.replicas, "pods in their place", 120)


def evicted(kubectl: Kubectl, pod: str) -> bool:
    """Request an eviction; tell whether it was granted. Nothing but a budget may refuse it."""
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
    path = f"/api/v1/namespaces/{kubectl.namespace}/pods/{pod}/eviction"
    try:
        kubectl.run("create", "--raw", path, "--filename=-", stdin=json.dumps(body))
    except KubectlError as error:
        if "disruption budget" not in str(error):
            raise
        return False
    return True


def drain(model: Model) -> None:
    """A node is drained of the model's pods (and of no others: there are other tests), which start elsewhere."""
    node = second_node(model.kubectl)
    on_node = {pod["metadata"]["name"] for pod in pods(model.kubectl, NAME) if pod["spec"]["nodeName"] == node}
    assert on_node, f"no pod of {NAME} on {node}"
    try:
        model.kubectl.run(
            "drain", node, f"--pod-selector={selector(NAME)}", "--delete-emptydir-data", "--timeout=500s", timeout=520
        )
        observe.settled(model.kubectl, lambda: len(ready_pods(model.kubectl)) == model.replicas, "pods elsewhere", 240)
        assert node not in {pod["spec"]["nodeName"] for pod in pods(model.kubectl, NAME)}
    finally:
        model.kubectl.run("uncordon", node)


def second_node(kubectl: Kubectl) -> str:
    """Return the last node's name; skip the test when it is the only one."""
    names = sorted(item["metadata"]["name"] for item in kubectl.items("nodes"))
    if len(names) == 1:
        pytest.skip("one node: pods have nowhere to go from it; `python -m dev.cluster up --nodes 2` makes another")
    return str(names[-1])


def autoscaler(model: Model) -> None:
    """An autoscaler finds that there are too many pods."""
    fewest, model.extra = model.replicas, {"autoscaling": {"minReplicas": model.replicas, "maxReplicas": 6, **CALM}}
    kubectl = model.kubectl
    kubectl.run("scale", KIND, NAME, f"--replicas={2 * fewest}")
    observe.settled(kubectl, lambda: len(ready_pods(kubectl)) == 2 * fewest, "twice as many pods", 240)
    model.apply()
    kubectl.run("wait", "--for=create", f"horizontalpodautoscaler/{NAME}", "--timeout=60s")
    # Its usual patience is five minutes.
    kubectl.patch("hpa", NAME, {"spec": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}})
    observe.settled(kubectl, lambda: len(ready_pods(kubectl)) == fewest, "the autoscaler to act", 240)
    model.extra = {}
    model.apply()
    wait.ready(kubectl, NAME)


CALM = {"metrics": [{"type": "CPU", "target": 1000}]}


def restart_operator(model: Model) -> None:
    """The operator is restarted in the middle of an update."""
    system = model.kubectl.within(OPERATOR_NAMESPACE)
    with alone("operator"):
        model.apply(NEW if model.uri == OLD else OLD)
        system.run("delete", "pods", f"--selector={OPERATOR_SELECTOR}", "--grace-period=0", "--force")
        wait.ready(model.kubectl, NAME)


Scenario = Callable[[Model], None]
SCENARIOS: tuple[Scenario, ...] = (
    update, supersede, rollback, scale_down, evict, drain, autoscaler, restart_operator,
)  # fmt: skip
SHORT: tuple[tuple[Scenario, ...], ...] = ((update, rollback, evict), (scale_down, restart_operator), (drain,))
RUNS = tuple((one,) for one in SCENARIOS) if FULL else SHORT


@pytest.fixture(scope="module")
def old_dns(kubectl: Kubectl) -> Iterator[str]:
    """A DNS server that gives old answers, for the clients of the headless Service."""
    with dns_cache.cached(dns_cache.cluster_dns(kubectl)) as address:
        yield address


@pytest.mark.parametrize("scenarios", RUNS, ids=lambda run: "-".join(one.__name__ for one in run))
def test_no_call_fails(
    namespace: Kubectl, old_dns: str, scenarios: tuple[Scenario, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    if drain in scenarios:
        second_node(namespace)
    model = Model(namespace, 4 if drain in scenarios else 2)
    model.serve(OLD)
    plans = control.plans(namespace, NAME, NAME, old_dns, rate=RATE, channels=CHANNELS, fresh=FRESH)
    least = CALLS // len(SCENARIOS) + 1 if FULL else 2000
    with control.against(plans) as loads:
        loads.more(100)
        first = uids(pods(namespace, NAME))
        for scenario in scenarios:
            scenario(model)
        observe.only(namespace, NAME, model.replicas)  # those that had to go are gone
        loads.more(100)
        loads.reach(least)
    reports = loads.reports()
    with capsys.disabled():
        print(f"\n{control.judge(reports, least, LATE_MILLIS)}")
    assert control.lost(reports) == {}
    assert all(set(control.values(report)) <= ANSWERS for report in reports.values())
    # These may end with the pods that they began with; every other scenario has to replace pods.
    assert uids(pods(namespace, NAME)) != first or set(scenarios) <= {rollback, supersede, scale_down, autoscaler}


@pytest.mark.parametrize("server", ["ignores SIGTERM", "handles SIGTERM"])
def test_without_graceful_termination_calls_fail(namespace: Kubectl, old_dns: str, server: str) -> None:
    Model(namespace).serve(OLD)
    rendered = namespace.get("deployment", NAME) or {}
    namespace.apply(*plain_deployment.objects(rendered, "undrained", drained=False, deaf=server == "ignores SIGTERM"))
    plain_deployment.rolled_out(namespace, "undrained")
    plans = control.plans(namespace, "undrained", NAME, old_dns, rate=RATE, channels=CHANNELS, fresh=FRESH)
    with control.against(plans) as loads:
        loads.more(100)
        for _ in range(5):
            namespace.run("rollout", "restart", "deployment/undrained")
            plain_deployment.rolled_out(namespace, "undrained")
            loads.more(100)
            if all(one.progress["failed"] for one in loads.running.values()):
                break
    assert set(control.lost(loads.reports())) == {"ClusterIP", "headless"}


def test_a_server_that_ignores_sigterm_loses_nothing_either(namespace: Kubectl, old_dns: str) -> None:
    Model(namespace).serve(OLD)
    rendered = namespace.get("deployment", NAME) or {}
    namespace.apply(*plain_deployment.objects(rendered, "deaf", drained=True, deaf=True))
    plain_deployment.rolled_out(namespace, "deaf")
    plans = control.plans(namespace, "deaf", NAME, old_dns, rate=RATE, channels=CHANNELS, fresh=FRESH)
    with control.against(plans) as loads:
        loads.more(100)
        namespace.run("rollout", "restart", "deployment/deaf")
        plain_deployment.rolled_out(namespace, "deaf")
        observe.settled(namespace, lambda: len(namespace.items("pods", "app=deaf")) == 2, "the old pods' end", 240)
        loads.more(100)
    reports = loads.reports()
    control.judge(reports, 500, LATE_MILLIS)
    assert control.lost(reports) == {}


def test_capacity_never_drops(namespace: Kubectl) -> None:
    model = Model(namespace, 3)
    model.serve(OLD)
    with observe.capacity(namespace, NAME) as watched:
        update(model)
        supersede(model)
        rollback(model)
    assert min(watched.seen) == model.replicas, watched.seen
    assert max(watched.seen) > model.replicas, f"nothing was seen: {watched.seen}"
