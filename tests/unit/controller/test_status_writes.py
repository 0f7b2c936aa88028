"""How many status writes a rollout costs when its controllers are slow, as they are while a hundred change at once."""

import pytest

from slipway.controller.status_writer import PROMPT_STARTS
from slipway.domain import names
from tests.kit import simulation
from tests.kit.simulation import Cluster

TRUE_WITHIN = 10.0
"""Seconds after which the status is what was there."""


class Slow(Cluster):
    """Controllers that work on many at once: `at` are the seconds when the pod is created, ready, and the rollout counted."""

    at = (0.0, 0.0, 0.0)
    began = 0.0

    def change(self, *at: float) -> None:
        """Change the pod template; the controllers act at those seconds after it."""
        self.at, self.began = at, self.time  # type: ignore[assignment]
        self.client.log.clear()
        self.edit(podTemplate={"labels": {"changed": "yes"}})

    def step(self) -> None:
        """Let a second pass."""
        if not self.began:
            super().step()
            return
        self.time += 1.0
        live = self.server.deployment
        assert live is not None
        number = names.revision_number(live["spec"]["template"])
        created, ready, counted = (self.time - self.began >= second for second in self.at)
        if created and not self.pods(number):
            self._add(live, number)
            self._count(live, number)
        for pod in self.pods(number):
            if "x-age" not in pod:
                self._kubelet(pod)
            elif ready and pod["x-age"] < simulation.LOAD_ROUNDS:
                pod["x-age"] = simulation.LOAD_ROUNDS - 1
                self._kubelet(pod)
        if counted:
            for pod in [pod for pod in self.pods() if names.revision_number(pod) != number]:
                self._remove(pod)
            self._count(live, number)

    def shown(self) -> tuple[object, ...]:
        """Return what the status shows of the facts below."""
        pods = {item["name"]: item["state"] == "Ready" for item in self.status["pods"]}
        return self.status["observedGeneration"], pods, self.status["replicas"]

    def facts(self) -> tuple[object, ...]:
        """Return what there is: the generation, the pods and whether they are ready, the Deployment's number."""
        ready = {pod["metadata"]["name"]: simulation._is_ready(pod) for pod in self.pods()}
        deployment = self.server.deployment
        assert deployment is not None
        return self.server.resource["metadata"]["generation"], ready, deployment["status"]["replicas"]


async def rollout(cluster: Slow, *at: float) -> int:
    """Run one rollout second by second; return the number of its status writes."""
    history = [(cluster.time, cluster.facts())]
    cluster.change(*at)
    for _ in range(40):
        history.append((cluster.time, cluster.facts()))
        await cluster.operate()
        history.append((cluster.time, cluster.facts()))
        recent = [facts for time, facts in history if cluster.time - time <= TRUE_WITHIN]
        assert cluster.shown() in recent, f"{cluster.time - cluster.began} s: {cluster.shown()} is none of {recent}"
        cluster.step()
    assert cluster.status["conditions"][0]["reason"] == "Ready"
    return cluster.client.log.count("status")


@pytest.fixture
async def cluster() -> Slow:
    """One ModelDeployment that serves and rests."""
    made = Slow(replicas=1)
    await made.settle()
    return made


async def test_a_single_rollout_shows_at_once_that_it_started(cluster: Slow) -> None:
    cluster.change(2, 4, 6)
    await cluster.operate()
    assert (cluster.status["observedGeneration"], cluster.status["conditions"][0]["reason"]) == (2, "RollingOut")
    assert cluster.client.log.count("status") == 1


def crowd(cluster: Slow) -> None:
    """Let as many other rollouts have started just now as are written at once."""
    cluster.reconciler._status_writer._prompt_starts.extend([cluster.time] * PROMPT_STARTS)


async def test_a_hundred_rollouts_at_once_cost_two_writes_each() -> None:
    """Every fourth of a hundred, whose controllers take them in turn: the last is done after 19 s."""
    writes = []
    for number in range(0, 100, 4):
        cluster = Slow(replicas=1)
        await cluster.settle()
        if number > PROMPT_STARTS:
            crowd(cluster)
        created = 1 + number / 14
        writes.append(await rollout(cluster, created, created + 2, created + 4 + number / 14))
    assert sum(writes) / len(writes) <= 2, writes


async def test_a_fault_of_a_rollout_whose_start_waits_is_written_at_once(cluster: Slow) -> None:
    crowd(cluster)
    cluster.broken.add("pvc://models/two")
    cluster.change(2, 99, 99)
    cluster.edit(model={"uri": "pvc://models/two"})
    await cluster.operate()
    assert cluster.client.log.count("status") == 0, "the start waits"
    for _ in range(4):
        cluster.step()
        await cluster.operate()
    assert cluster.status["pods"][0]["reason"] == "FetchFailed"
