"""One ModelDeployment under load, its operator, and the proxy between the operator and the API server.

A round promotes a good revision, then pushes a bad one; each is a spec that is new.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from dev.cluster.api_client import ApiError
from dev.kit.eventually import eventually
from dev.kit.fault_proxy import FaultProxy
from dev.kit.load import control
from dev.kit.load.generator import Report
from dev.kit.local_operator import Operator
from dev.kit.model_namespace import Namespace, Object
from e2e.chaos import models, snapshot
from e2e.chaos.ground import Ground, say

NAME = "m"
WRITES = {"patch", "create", "update", "delete"}
RESOURCES = {"requests": {"cpu": "50m", "memory": "200Mi"}, "limits": {"memory": "1Gi"}}
DEADLINE = 60
"""Seconds of one call: what is counted here is calls that are lost, not what a busy machine takes for one."""
RATE = 25
"""Calls a second through each Service."""
SECONDS = 300
"""Longest wait for a promotion or a rollback, faults included."""
REVISION_LABEL = snapshot.REVISION_LABEL


class Lane:
    """See the module's text."""

    def __init__(self, ground: Ground, world: Namespace, folder: Path) -> None:
        self.ground, self.world = ground, world
        self._folder = folder
        self._stack = ExitStack()
        self._rounds = 0
        self.summary: dict[str, str] = {}
        self.flags: tuple[str, ...] = ("--no-leader-elect",)
        self.good = "good-a"
        self.proxy: FaultProxy
        self.operator: Operator

    def __enter__(self) -> Self:
        config = self.ground.kubeconfig(f"lane-{self.world.namespace}", ["system:masters"])
        self.proxy = self._stack.enter_context(FaultProxy(config, self._folder))
        self.operator = self.another(*self.flags)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def another(self, *flags: str) -> Operator:
        """Return an operator behind the proxy, not yet started; it is ended with the lane."""
        made = self.ground.operator(self._folder, self.world.namespace, *flags, kubeconfig=self.proxy.kubeconfig)
        self._stack.callback(made.kill)
        return made

    def create(self, **spec: Any) -> None:
        """Create the ModelDeployment with the first good model and wait until it serves."""
        self.world.api.create(self.world.path("ConfigMap"), models.golden_set())
        rollout = {"gate": models.gate(), "revisionHistoryLimit": 3}
        template = {"annotations": {"round": "round-0"}}
        wanted = {"model": models.model(self.good), "resources": RESOURCES, "replicas": 2, "rollout": rollout}
        wanted["podTemplate"] = template
        self.world.create(NAME, **(wanted | spec))
        eventually(lambda: self.world.is_ready(NAME), "the first revision serves", SECONDS)

    def promote(self) -> None:
        """Request the other good model, as a new revision."""
        self.good = "good-b" if self.good == "good-a" else "good-a"
        self.request(self.good)

    def request(self, model: str, **spec: Any) -> None:
        """Request a model with a spec that is new."""
        self._rounds += 1
        template = {"annotations": {"round": f"round-{self._rounds}"}}
        self.world.patch(NAME, model=models.model(model), podTemplate=template, **spec)

    @contextmanager
    def load(self, *allowed: str) -> Iterator[None]:
        """Send requests through both Services all the time, at a fixed rate, over held channels and fresh ones.

        Fails at the end if one call failed, or an answer is of a model that is not allowed (default: the good ones). How
        late calls start is reported and not judged: that depends on the machine's affair here.
        """
        kubectl = self.ground.kubectl.within(self.world.namespace)
        plans = control.plans(kubectl, NAME, NAME, rate=RATE, channels=6, fresh=2, seconds=7200, deadline=DEADLINE)
        with control.against(plans) as loads:
            loads.more(20)
            yield
            loads.more(20)
        reports = loads.reports()
        self.summary = {kind: _words(report) for kind, report in reports.items()}
        say(f"{self.world.namespace}: {self.summary}")
        lost = control.lost(reports)
        assert not lost, f"{self.summary}: {lost}"
        for kind, report in reports.items():
            found = set(control.values(report))
            assert found <= models.answers(*(allowed or ("good-a", "good-b"))), f"{kind}: {report.answers}"

    def revision(self) -> int:
        """Return the update revision of the status; 0 before the first."""
        return int(self.world.status(NAME).get("updateRevision", 0))

    def running(self) -> int:
        """Return the revision of the Deployment's template."""
        labels = self.world.get("Deployment", NAME)["spec"]["template"]["metadata"]["labels"]
        return int(labels[REVISION_LABEL])

    def pods(self, revision: int) -> list[Object]:
        """Return the living pods of a revision."""
        found = snapshot.living(self.world, NAME)
        return [pod for pod in found if pod["metadata"]["labels"][REVISION_LABEL] == str(revision)]

    def promoted(self) -> bool:
        """Tell whether the newest spec is served."""
        return self.world.is_ready(NAME)

    def rolled_back(self) -> bool:
        """Tell whether the newest spec has failed and the current revision alone is served, and said to be."""
        body = self.world.get("ModelDeployment", NAME)
        conditions = {item["type"]: item for item in body.get("status", {}).get("conditions", [])}
        rolled_back = conditions.get("RolledBack", {})
        current = rolled_back.get("observedGeneration") == body["metadata"]["generation"]
        if not current or rolled_back.get("status") != "True":
            return False
        living = {pod["metadata"]["labels"][REVISION_LABEL] for pod in snapshot.living(self.world, NAME)}
        return living == {str(body["status"]["currentRevision"])} == {str(self.running())}

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait for a state of this lane; the API server may be away meanwhile."""
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                if holds():
                    return
            except ApiError:
                if time.monotonic() > deadline:
                    raise
            assert time.monotonic() < deadline, f"not within {SECONDS} s: {what}; {json.dumps(self.world.status(NAME))}"
            time.sleep(0.1)


def _words(report: Report) -> str:
    """Return what came of a load, in words."""
    failed = sum(report.codes.values()) - report.codes.get("OK", 0)
    return f"{failed} failed of {report.sent} calls {report.codes}, started late ms {report.late}"
