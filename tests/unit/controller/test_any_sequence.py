"""Whatever users, pods, sources and kills do, in any order: the target is the update revision or the current one."""

import asyncio
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from slipway.decide import State, make_plan
from slipway.domain import names
from slipway.domain.objects import Ref
from tests.kit.builders import DEFAULTS
from tests.kit.simulation import KEY, Cluster, overloaded

MODELS = ("pvc://models/one", "pvc://models/two", "pvc://models/three", "pvc://models/bad")
RESOURCES = {"requests": {"cpu": "1"}}


class Anything(RuleBasedStateMachine):
    """One ModelDeployment, through anything."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.cluster = Cluster()
        self.highest = 0
        self.data: dict[int, Any] = {}
        self.complete: set[int] = set()
        self.autoscaled = False
        self.replicas = 1

    @initialize(autoscaled=st.booleans(), replicas=st.integers(1, 3), broken=st.booleans())
    def begin(self, autoscaled: bool, replicas: int, broken: bool) -> None:  # noqa: FBT001 - hypothesis draws it
        self.autoscaled = autoscaled
        spec: dict[str, Any] = {"resources": RESOURCES, "replicas": replicas}
        if autoscaled:
            spec |= {"autoscaling": {"minReplicas": 1, "maxReplicas": 9}, "replicas": None}
        self.cluster = Cluster(**spec)
        self.cluster.broken = {MODELS[3]} | ({MODELS[0]} if broken else set())

    def work(self, rounds: int = 1) -> None:
        for _ in range(rounds):
            self.loop.run_until_complete(self.cluster.round())
            self._record()

    def _record(self) -> None:
        """Record which revisions serve completely, and the data of each number."""
        live = self.cluster.server.deployment
        pods = self.cluster.pods()
        if live is not None and pods and len(pods) >= live["spec"]["replicas"]:
            numbers = {names.revision_number(pod) for pod in pods}
            if len(numbers) == 1 and live["status"].get("readyReplicas") == len(pods):
                self.complete |= numbers
        for revision in self.cluster.server.of("ControllerRevision"):
            number = revision["revision"]
            if number not in self.data:
                assert number > self.highest, "a number is used again"
                self.data[number], self.highest = revision["data"], number
            assert self.data[number] == revision["data"], "a revision has changed"

    # The user

    @rule(uri=st.sampled_from(MODELS))
    def change_model(self, uri: str) -> None:
        self.cluster.edit(model={"uri": uri})

    @rule(number=st.none() | st.integers(1, 6))
    def pin(self, number: int | None) -> None:
        self.cluster.edit(pinnedRevision=number)

    @rule(
        fields=st.sampled_from(
            [{}, {"onFailure": "Pause"}, {"revisionHistoryLimit": 1}, {"strategy": "TerminateFirst"}]
        )
    )
    def change_rollout(self, fields: dict[str, Any]) -> None:
        self.cluster.edit(rollout=fields)

    @rule(token=st.sampled_from(["a", "b", "c"]))
    def retry(self, token: str) -> None:
        self.cluster.edit(annotations={names.RETRY_ANNOTATION: token})

    @rule(number=st.integers(0, 6))
    def scale(self, number: int) -> None:
        if not self.autoscaled:
            self.cluster.edit(replicas=number)
        elif (live := self.cluster.server.deployment) is not None and number > 0:
            live["spec"]["replicas"] = self.replicas = number
            live["metadata"]["generation"] += 1
            self.cluster.server.put(live)

    @rule()
    def misspell(self) -> None:
        self.cluster.edit(runtime={"args": {"no_such_flag": "1"}})

    @rule()
    def correct(self) -> None:
        self.cluster.edit(runtime=None)

    # The world

    @rule(uri=st.sampled_from(MODELS[:3]))
    def breaks(self, uri: str) -> None:
        self.cluster.broken ^= {uri}

    @rule(which=st.integers(0, 5))
    def node_lost(self, which: int) -> None:
        pods = self.cluster.pods()
        if pods:
            self.cluster.server.delete(Ref("Pod", pods[which % len(pods)]["metadata"]["name"]))

    @rule(writes=st.integers(1, 4), before=st.booleans())
    def killed(self, writes: int, before: bool) -> None:  # noqa: FBT001 - hypothesis draws it
        client = self.cluster.client
        setattr(client, "kill_before" if before else "kill_after", client.writes + writes)

    @rule(which=st.sets(st.integers(1, 5), max_size=3))
    def overloaded(self, which: set[int]) -> None:
        self.cluster.client.errors |= {self.cluster.client.writes + number: overloaded() for number in which}

    @rule(rounds=st.integers(1, 6))
    def time_passes(self, rounds: int) -> None:
        self.work(rounds)

    @rule()
    def settles(self) -> None:
        """Everything settles, and then nothing is done, by the next process either."""
        quiet = 0
        for _ in range(200):
            before = self.cluster.server.version
            self.work()
            quiet = quiet + 1 if self.cluster.server.version == before else 0
            if quiet > 5:
                break
        assert quiet > 5, "it does not settle"
        self.cluster.kill()
        written = self.cluster.client.writes
        self.work(2)
        assert self.cluster.client.writes == written, self.cluster.client.log[-3:]
        state = State.gather(KEY, self.cluster.cache.snapshot(KEY))
        plan = make_plan(state, DEFAULTS, self.cluster.now())
        assert plan.actions == ()
        if plan.target is not None:
            assert self.cluster.deployed == plan.target == self.cluster.status["targetRevision"]

    # What always holds

    @invariant()
    def the_target_is_the_update_or_the_current_revision(self) -> None:
        status = self.cluster.status
        if "targetRevision" in status:
            assert status["targetRevision"] in {status.get("updateRevision"), status.get("currentRevision")}

    @invariant()
    def the_current_revision_has_served_completely(self) -> None:
        current = self.cluster.status.get("currentRevision")
        assert current is None or current in self.complete

    @invariant()
    def what_is_needed_has_a_controller_revision(self) -> None:
        recorded = {revision["revision"] for revision in self.cluster.server.of("ControllerRevision")}
        status = self.cluster.status
        needed = {status.get(field) for field in ("updateRevision", "currentRevision", "targetRevision")}
        assert (needed | {self.cluster.deployed}) - {None, 0} <= recorded

    @invariant()
    def an_autoscaler_keeps_its_number(self) -> None:
        if self.autoscaled and (live := self.cluster.server.deployment) is not None:
            assert live["spec"]["replicas"] == self.replicas

    def teardown(self) -> None:
        self.loop.close()


TestAnything = Anything.TestCase
TestAnything.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
