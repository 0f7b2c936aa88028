"""One served model: which versions are there, which ones are wanted, and the thread that closes the gap.

A model's versions are *aspired* by whoever looks at its base path. While there is something to do, one thread of the model
loads and unloads, a step at a time, each step chosen by `next_step` from what is the case: an old version goes only when a
wanted one is available, the highest wanted version comes first, and a version that failed is not tried again while it stays
wanted. A model that waits for a retry or for its last user holds up no other model.
"""

import logging
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Protocol

from model_server.config.settings import ModelConfig
from model_server.errors import ServingError
from model_server.models.load_slots import Slots
from model_server.models.loader import describe
from model_server.models.versions import VersionDirectory
from model_server.runtime.servable import Servable

_log = logging.getLogger(__name__)


class State(IntEnum):
    """States of a version, with the numbers of ModelVersionStatus.State."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


class Outcome(Enum):
    """How far a model is, for those who wait for it."""

    PENDING = "a version is being loaded"
    AVAILABLE = "a version takes requests"
    FAILED = "every wanted version failed"
    NOTHING = "there is no version to load"


@dataclass(frozen=True, slots=True)
class VersionState:
    """What is known of one version; `error` is why it ended, if it failed."""

    version: int
    state: State
    error: ServingError | None = None


@dataclass(frozen=True, slots=True)
class LoadPolicy:
    """Retries after a first failure, the pause between them, and the seconds between two polls (0: poll once)."""

    max_retries: int
    retry_interval_seconds: float
    poll_seconds: int


class VersionLoader(Protocol):
    """What loads a version; see `loader.Loader`."""

    def load(self, name: str, version: int, path: str) -> Servable:
        """Load and warm up a version directory; any exception is a failed load."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """What all models share. `changed` guards their fields and is notified whenever one changes."""

    loader: VersionLoader
    policy: LoadPolicy
    slots: Slots
    changed: threading.Condition = field(default_factory=threading.Condition)
    stopped: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class Step:
    """The next thing to do with a version: load it, or (`load` is False) unload it."""

    version: int
    load: bool


def next_step(aspired: Collection[int], states: Mapping[int, State]) -> Step | None:
    """What to do next, or None. Unloads before it loads, but never the last version that answers while others are wanted."""
    answering = [version for version in aspired if states.get(version) is State.AVAILABLE]
    surplus = [version for version, state in states.items() if state is State.AVAILABLE and version not in aspired]
    if surplus and (answering or not aspired):
        return Step(min(surplus), load=False)
    waiting = [version for version in aspired if states.get(version) is State.START]
    return Step(max(waiting), load=True) if waiting else None


class ServedModel:
    """A configured model. `loaded`, `latest` and `config` may be read without the lock: they are replaced, never changed."""

    def __init__(self, config: ModelConfig, workshop: Workshop) -> None:
        self.config = config
        self.loaded: dict[int, Servable] = {}
        self.latest: Servable | None = None
        #: Why there is nothing to load, where that is so.
        self.problem: ServingError | None = None
        self._workshop = workshop
        self._states: dict[int, VersionState] = {}
        self._aspired: dict[int, str] = {}
        self._tried: set[int] = set()
        self._looked = self._working = False

    def configure(self, config: ModelConfig) -> None:
        """Take a new configuration; what it wants is known after the next look at the base path."""
        with self._workshop.changed:
            self.config = config
            self._looked = False

    def aspire(
        self, wanted: Collection[VersionDirectory], seen_for: ModelConfig, problem: ServingError | None = None
    ) -> None:
        """Say which versions should be loaded, as seen under the base path of `seen_for`; an outdated view changes nothing."""
        with self._workshop.changed:
            if seen_for is not self.config:
                return
            self._looked, self.problem = True, problem
            self._aspired = {directory.version: directory.path for directory in wanted}
            self._tried &= self._aspired.keys()
            for version, state in list(self._states.items()):
                if state.state is State.START and version not in self._aspired:
                    self._set(version, State.END)
            self._note_new()
            if not self._working and self._next_step():
                self._working = True
                threading.Thread(target=self._work, name=f"model-{self.config.name}", daemon=True).start()
            self._workshop.changed.notify_all()

    def fail_to_look(self, seen_for: ModelConfig, problem: ServingError) -> None:
        """Say that the base path could not be read: nothing changes, but nobody waits in vain."""
        with self._workshop.changed:
            if seen_for is self.config:
                self._looked, self.problem = True, problem
                self._workshop.changed.notify_all()

    def states(self) -> list[VersionState]:
        """States of all versions that were ever wanted, the lowest version first."""
        with self._workshop.changed:
            return sorted(self._states.values(), key=lambda item: item.version)

    def outcome(self, *, all_versions: bool) -> Outcome:
        """How far the model is; with `all_versions` it is pending until nothing is left to do. Needs the lock."""
        if self.loaded and not (all_versions and self._working):
            return Outcome.AVAILABLE
        if self._working or not self._looked:
            return Outcome.PENDING
        return Outcome.FAILED if self._aspired else Outcome.NOTHING

    def _next_step(self) -> Step | None:
        return next_step(self._aspired.keys(), {version: item.state for version, item in self._states.items()})

    def _note_new(self) -> None:
        for version in self._aspired.keys() - self._tried:
            known = self._states.get(version)
            if known is None or known.state is State.END:
                self._set(version, State.START)

    def _set(self, version: int, state: State, error: ServingError | None = None) -> None:
        self._states[version] = VersionState(version, state, error)

    def _work(self) -> None:
        """Take steps until there are none."""
        changed = self._workshop.changed
        while True:
            with changed:
                self._note_new()
                step = None if self._workshop.stopped.is_set() else self._next_step()
                if step is None:
                    self._working = False
                    changed.notify_all()
                    return
                path = self._aspired.get(step.version, "")
                self._set(step.version, State.LOADING if step.load else State.UNLOADING)
                if step.load:
                    self._tried.add(step.version)
            if step.load:
                self._load(step.version, path)
            else:
                self._unload(step.version)

    def _load(self, version: int, path: str) -> None:
        name, policy = self.config.name, self._workshop.policy
        servable: Servable | None = None
        error: ServingError | None = None
        for attempt in range(policy.max_retries + 1):
            if attempt and not self._pause(version):
                break
            if attempt:
                _log.info("Retrying of loading servable: {name: %s version: %d} retry: %d", name, version, attempt)
            try:
                with self._workshop.slots:
                    servable, error = self._workshop.loader.load(name, version, path), None
                break
            except Exception as problem:  # noqa: BLE001 - any failure of a load becomes the version's state
                error = describe(problem)
                _log.error("Loading servable: {name: %s version: %d} failed: %s", name, version, error)
        with self._workshop.changed:
            if servable is None:
                self._set(version, State.END, error)
            else:
                self._replace({**self.loaded, version: servable})
                self._set(version, State.AVAILABLE)
            self._workshop.changed.notify_all()
        if servable is not None:
            _log.info("Successfully loaded servable version {name: %s version: %d}", name, version)

    def _pause(self, version: int) -> bool:
        """Wait before the next try; False if there should be none, because the version is no longer wanted."""
        workshop = self._workshop
        with workshop.changed:
            given_up = workshop.changed.wait_for(
                lambda: workshop.stopped.is_set() or version not in self._aspired,
                timeout=max(workshop.policy.retry_interval_seconds, 0),
            )
        return not given_up

    def _unload(self, version: int) -> None:
        with self._workshop.changed:
            servable = self.loaded[version]
            self._replace({number: item for number, item in self.loaded.items() if number != version})
        try:
            servable.close()
        except Exception:  # noqa: BLE001 - logged; the version is gone for its clients in any case
            _log.exception("unloading failed")
        with self._workshop.changed:
            self._set(version, State.END)
            self._workshop.changed.notify_all()
        _log.info("Done unloading servable version {name: %s version: %d}", self.config.name, version)

    def _replace(self, loaded: dict[int, Servable]) -> None:
        self.loaded = loaded
        self.latest = loaded[max(loaded)] if loaded else None
