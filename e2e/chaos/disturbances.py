"""What goes wrong in the middle of a promotion or a rollback, besides the death of the operator."""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

from dev.cluster.api_client import ApiError
from dev.kit.fault_proxy import Fault, Kind
from e2e.chaos import models, snapshot
from e2e.chaos.course import Disturbance, Phase
from e2e.chaos.lane import NAME, RESOURCES, Lane

START = 0.15
"""Share of a phase after which trouble begins."""


@contextmanager
def meanwhile(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Run something beside the body; it is told when the body ends, and its error is raised then."""
    over = threading.Event()
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work(over)
        except BaseException as error:  # noqa: BLE001 - raised below, in the test's own thread
            errors.append(error)

    worker = threading.Thread(target=run, name="trouble")
    worker.start()
    try:
        yield
    finally:
        over.set()
        worker.join()
    if errors:
        raise errors[0]


def storm(
    words: str, fault: Fault, seconds: float = 8, share: float = 1.0, verbs: set[str] | None = None
) -> Disturbance:
    """Let the API server answer the operator badly for some seconds from early in the phase on."""

    @contextmanager
    def around(lane: Lane, phase: Phase) -> Iterator[None]:
        def work(over: threading.Event) -> None:
            over.wait(START * phase.seconds)
            rule = lane.proxy.add(fault, share=share, verbs=verbs)
            time.sleep(seconds)
            lane.proxy.remove(rule)

        with meanwhile(work):
            yield

    return Disturbance(f"{words} for {seconds:.0f} s", around)


def watch_errors(code: int) -> Disturbance:
    """Break every watch with an ERROR event, again and again."""

    @contextmanager
    def around(lane: Lane, phase: Phase) -> Iterator[None]:
        def work(over: threading.Event) -> None:
            for _ in range(4):
                over.wait(START * phase.seconds)
                fault = Fault(Kind.WATCH_ERROR, status=code, message="too old resource version")
                rule = lane.proxy.add(fault, verbs={"watch"}, times=7)
                time.sleep(1)
                lane.proxy.remove(rule)

        with meanwhile(work):
            yield

    return Disturbance(f"ERROR {code} in every watch, four times", around)


def silent_watches() -> Disturbance:
    """Let every open watch fall silent for good; new ones work."""

    @contextmanager
    def around(lane: Lane, phase: Phase) -> Iterator[None]:
        def work(over: threading.Event) -> None:
            over.wait(START * phase.seconds)
            rule = lane.proxy.add(Fault(Kind.SILENCE), verbs={"watch"})
            time.sleep(0.5)
            lane.proxy.remove(rule)

        with meanwhile(work):
            yield

    return Disturbance("every watch half-open", around)


def unanswered_writes() -> Disturbance:
    """Let some writes hang without an answer."""

    @contextmanager
    def around(lane: Lane, _: Phase) -> Iterator[None]:
        rule = lane.proxy.add(Fault(Kind.SILENCE), verbs={"patch"}, times=3)
        yield
        lane.proxy.remove(rule)

    return Disturbance("three writes that nobody answers", around)


def second_writer() -> Disturbance:
    """Patch labels of the ModelDeployment and of its Deployment, up to 50 times a second."""

    @contextmanager
    def around(lane: Lane, _: Phase) -> Iterator[None]:
        paths = [lane.world.path(kind, NAME) for kind in ("ModelDeployment", "Deployment")]
        done = count()

        def work(over: threading.Event) -> None:
            for number in count():
                if over.wait(0.02):
                    break
                for path in paths:
                    with contextlib.suppress(ApiError):  # the fight is rough
                        lane.world.api.patch(path, {"metadata": {"labels": {"chaos": str(number)}}})
                        next(done)
            for path in paths:
                lane.world.api.patch(path, {"metadata": {"labels": {"chaos": None}}})

        with meanwhile(work):
            yield
        assert next(done) > 50, "the second writer wrote"

    return Disturbance("a second writer", around)


def upgrade(*flags: str) -> Disturbance:
    """End the operator as a rollout of its own Deployment does, and start one with other defaults."""

    @contextmanager
    def around(lane: Lane, phase: Phase) -> Iterator[None]:
        def work(over: threading.Event) -> None:
            over.wait(2 * START * phase.seconds)
            assert lane.operator.stop() == 0
            lane.operator = lane.another(*lane.flags, *flags).start()

        with meanwhile(work):
            yield

    def back(lane: Lane) -> None:
        assert lane.operator.stop() == 0
        lane.operator = lane.another(*lane.flags).start()

    return Disturbance("the operator is upgraded to other defaults", around, back)


def frozen(seconds: float = 12) -> Disturbance:
    """Stop the operator's process in its tracks, then let it go on with what it believed before."""

    @contextmanager
    def around(lane: Lane, phase: Phase) -> Iterator[None]:
        def work(over: threading.Event) -> None:
            over.wait(START * phase.seconds)
            assert lane.operator.process is not None
            lane.operator.process.send_signal(signal.SIGSTOP)
            time.sleep(seconds)
            lane.operator.process.send_signal(signal.SIGCONT)

        with meanwhile(work):
            yield

    return Disturbance(f"the operator stands still for {seconds:.0f} s", around)


def stuck_pods() -> Disturbance:
    """Hold every pod that serves by a finalizer: those that are replaced do not go away."""

    @contextmanager
    def around(lane: Lane, _: Phase) -> Iterator[None]:
        held = [lane.world.path("Pod", pod["metadata"]["name"]) for pod in snapshot.living(lane.world, NAME)]
        for path in held:
            lane.world.api.patch(path, {"metadata": {"finalizers": ["chaos.test/held"]}})
        try:
            yield
        finally:
            for path in held:
                with contextlib.suppress(ApiError):
                    lane.world.api.patch(path, {"metadata": {"finalizers": None}})

    return Disturbance("old pods held by a finalizer", around)


def poison(number: int = 6) -> Disturbance:
    """Surround the ModelDeployment with others that cannot work, each in its own way."""
    bad = (
        {"model": models.model("not-there")},
        {"model": models.model("corrupt")},
        {"model": {"uri": "pvc://no-claim/x"}},
        {"model": models.model("good-a"), "runtime": {"image": "registry.invalid/server:1.0.0"}},
        {"model": models.model("good-a"), "resources": {"requests": {"cpu": "9000"}}},
        {"model": models.model("good-a"), "runtime": {"args": {"no_such_flag": "1"}}},
    )

    @contextmanager
    def around(lane: Lane, _: Phase) -> Iterator[None]:
        names = [f"poison-{index}" for index in range(number)]
        for index, name in enumerate(names):
            lane.world.create(name, **({"resources": RESOURCES} | bad[index % len(bad)]))
        try:
            yield
        finally:
            for name in names:
                lane.world.api.delete(lane.world.path("ModelDeployment", name))

    return Disturbance(f"{number} neighbours that fail", around)


def deleted(kind: str, name: Callable[[Lane], str]) -> Disturbance:
    """Delete a child early in the phase; it comes back as it was."""

    @contextmanager
    def around(lane: Lane, phase: Phase) -> Iterator[None]:
        def work(over: threading.Event) -> None:
            over.wait(2 * START * phase.seconds)
            lane.world.api.delete(lane.world.path(kind, name(lane)))

        with meanwhile(work):
            yield

    return Disturbance(f"{kind} deleted", around)


def control_plane(*components: str) -> Disturbance:
    """Kill parts of the control plane with SIGKILL, early in the phase, and start them again."""

    @contextmanager
    def around(lane: Lane, phase: Phase) -> Iterator[None]:
        def work(over: threading.Event) -> None:
            over.wait(2 * START * phase.seconds)
            for component in components:
                lane.ground.kill(component)
            time.sleep(3)
            lane.ground.repair()

        with meanwhile(work):
            yield

    return Disturbance(f"kill -9 of {' and '.join(components)}", around)
