"""The decision what to load or unload next, searched; the thread that follows it, with a loader that does what it is told."""

import threading
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dev.kit.eventually import eventually
from model_server.config.settings import ModelConfig
from model_server.errors import Code, ServingError
from model_server.models.load_slots import Slots
from model_server.models.served_model import LoadPolicy, Outcome, ServedModel, State, Step, Workshop, next_step
from model_server.models.versions import VersionDirectory
from model_server.runtime.servable import Servable

versions = st.sets(st.integers(1, 6), max_size=4)
STEADY = {State.START, State.AVAILABLE, State.END}


@given(aspired=versions, states=st.dictionaries(st.integers(1, 6), st.sampled_from(sorted(STEADY)), max_size=6))
def test_a_step_never_takes_the_last_answer_away(aspired: set[int], states: dict[int, State]) -> None:
    step = next_step(aspired, states)
    if step is None:
        return
    if step.load:
        assert step.version in aspired
        assert states[step.version] is State.START
        assert step.version == max(v for v in aspired if states.get(v) is State.START)
    else:
        assert step.version not in aspired
        assert states[step.version] is State.AVAILABLE
        assert not aspired or any(states.get(version) is State.AVAILABLE for version in aspired)


@given(aspired=versions, loaded=versions, broken=versions)
def test_steps_lead_to_what_is_wanted_and_end(aspired: set[int], loaded: set[int], broken: set[int]) -> None:
    states = dict.fromkeys(loaded, State.AVAILABLE) | dict.fromkeys(aspired - loaded, State.START)
    answered = bool(loaded)
    for _ in range(20):
        step = next_step(aspired, states)
        if step is None:
            break
        good = step.load and step.version not in broken
        states[step.version] = State.AVAILABLE if good else State.END
        if answered and aspired:
            assert State.AVAILABLE in states.values()
    assert next_step(aspired, states) is None
    available = {version for version, state in states.items() if state is State.AVAILABLE}
    wanted = (aspired - broken) | (aspired & loaded)
    # Where nothing wanted can be had, what was there goes on serving.
    assert available == (wanted or (loaded if aspired else set()))


def test_nothing_to_do() -> None:
    assert next_step((), {}) is None
    assert next_step({1}, {1: State.LOADING}) is None
    assert next_step((), {1: State.AVAILABLE}) == Step(1, load=False)


class Runner:
    """What a servable closes."""

    def run(self, feeds: Sequence[Any], fetches: Sequence[str], timeout_ms: int) -> list[Any]:
        return []

    def close(self) -> None:
        pass


class Loader:
    """Loads what is allowed; counts its attempts."""

    def __init__(self, *broken: int) -> None:
        self.broken = set(broken)
        self.attempts: list[int] = []

    def load(self, name: str, version: int, path: str) -> Servable:
        self.attempts.append(version)
        if version in self.broken:
            raise ServingError(Code.NOT_FOUND, f"{path} is broken")
        return Servable(name, version, {}, Runner())


def model(loader: Loader, policy: LoadPolicy) -> tuple[ServedModel, ModelConfig]:
    config = ModelConfig("m", "/m")
    return ServedModel(config, Workshop(loader, policy, Slots(1))), config


def wanted(*numbers: int) -> list[VersionDirectory]:
    return [VersionDirectory(number, f"/m/{number}") for number in numbers]


def settled(served: ServedModel) -> dict[int, State]:
    eventually(lambda: served.outcome(all_versions=True) is not Outcome.PENDING)
    return {state.version: state.state for state in served.states()}


@settings(max_examples=30, deadline=None)
@given(st.lists(versions, min_size=1, max_size=5), versions)
def test_any_series_of_wishes_ends_where_the_last_one_says(wishes: list[set[int]], broken: set[int]) -> None:
    served, config = model(Loader(*broken), LoadPolicy(0, 0, 1))
    for wish in wishes:
        served.aspire(wanted(*wish), config)
    states = settled(served)
    available = {version for version, state in states.items() if state is State.AVAILABLE}
    last = wishes[-1]
    if last - broken:
        assert available == last - broken
    assert set(served.loaded) == available
    assert (served.latest.version if served.latest else None) == max(available, default=None)
    assert set(states.values()) <= {State.AVAILABLE, State.END}


def test_retries_are_counted_and_end_when_nobody_wants_the_version() -> None:
    loader = Loader(1, 2)
    served, config = model(loader, LoadPolicy(2, 0, 1))
    served.aspire(wanted(1), config)
    assert settled(served) == {1: State.END}
    assert loader.attempts == [1, 1, 1]
    slow = LoadPolicy(1000, 3600, 1)
    served, config = model(loader, slow)
    served.aspire(wanted(2), config)
    eventually(lambda: len(loader.attempts) == 4)
    served.aspire((), config)
    assert settled(served) == {2: State.END}
    assert len(loader.attempts) == 4


def test_an_outdated_view_changes_nothing() -> None:
    served, config = model(Loader(), LoadPolicy(0, 0, 1))
    served.configure(ModelConfig("m", "/other"))
    served.aspire(wanted(1), config)
    served.fail_to_look(config, ServingError(Code.NOT_FOUND, "gone"))
    assert served.states() == []
    assert served.outcome(all_versions=True) is Outcome.PENDING


def test_slots_are_a_limit_that_can_grow() -> None:
    slots, entered = Slots(1), threading.Event()

    def enter() -> None:
        with slots:
            entered.set()

    with slots:
        thread = threading.Thread(target=enter)
        thread.start()
        assert not entered.wait(0.2)
        slots.resize(2)
        assert entered.wait(10)
    thread.join()
