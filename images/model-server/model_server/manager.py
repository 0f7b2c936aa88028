"""Which versions of which models are served: initial load, polling, retries, states, and the way from a request to a version.

One thread per model loads at start; afterwards one polling thread looks for new versions. A new version is loaded before an
old one is taken away. States are kept for GetModelStatus, those of versions that are gone included.
"""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from model_server import versions
from model_server.config import ModelConfig
from model_server.errors import Code, ServingError, invalid_argument
from model_server.loader import Loader, describe
from model_server.servable import Servable
from model_server.versions import VersionDirectory

_log = logging.getLogger(__name__)


class State(IntEnum):
    """States of a version, with the numbers of ModelVersionStatus.State."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


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


class _Model:
    """One configured model. Its fields belong to the manager's lock."""

    def __init__(self, config: ModelConfig) -> None:
        self.config = config
        self.states: dict[int, VersionState] = {}
        self.loaded: dict[int, Servable] = {}
        self.labels: dict[str, int] = {}
        self.latest: Servable | None = None

    def set_state(self, version: int, state: State, error: ServingError | None = None) -> None:
        self.states[version] = VersionState(version, state, error)

    def refresh_latest(self) -> None:
        self.latest = self.loaded[max(self.loaded)] if self.loaded else None


class Manager:
    """Owns the models. `start` returns when every model can be asked."""

    def __init__(
        self, models: Sequence[ModelConfig], loader: Loader, policy: LoadPolicy, *, allow_early_labels: bool
    ) -> None:
        self._models = {config.name: _Model(config) for config in models}
        self._loader, self._policy = loader, policy
        self._allow_early_labels = allow_early_labels
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def start(self) -> None:
        """Load every model's versions. ServingError (UNKNOWN) that names each version that failed, if a model has none."""
        self._check_labels()
        failed: dict[str, list[VersionState]] = {}
        threads = [
            threading.Thread(target=self._load_first, args=(model, failed), name=f"load-{name}", daemon=True)
            for name, model in self._models.items()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._stop.is_set():
            raise ServingError(Code.CANCELLED, "stopped while loading")
        if failed:
            raise _not_available(failed)
        for model in self._models.values():
            model.labels = dict(model.config.labels)
        if self._policy.poll_seconds > 0:
            threading.Thread(target=self._poll_forever, name="poll", daemon=True).start()

    def stop(self) -> None:
        """Stop waiting and polling; loaded versions stay."""
        self._stop.set()

    @contextmanager
    def acquire(self, spec: Any) -> Iterator[Servable]:
        """The version that a ModelSpec means (number, label, or the highest one loaded), kept loaded inside the block."""
        servable = self._find(spec)
        try:
            yield servable
        finally:
            servable.release()

    def _find(self, spec: Any) -> Servable:
        name: str = spec.name
        if not name:
            raise invalid_argument("ModelSpec has no name specified.")
        choice = spec.WhichOneof("version_choice")
        with self._lock:
            model = self._models.get(name)
            if choice is None:
                servable, asked = model.latest if model else None, f"Latest({name})"
            else:
                version = spec.version.value if choice == "version" else _labelled(model, spec.version_label)
                servable, asked = model.loaded.get(version) if model else None, f"Specific({name}, {version})"
            if servable is not None:
                servable.retain()
                return servable
        raise ServingError(Code.NOT_FOUND, f"Servable not found for request: {asked}")

    def states(self, name: str) -> list[VersionState]:
        """States of all versions of a model, highest version first; empty if the model is unknown."""
        with self._lock:
            model = self._models.get(name)
            found = list(model.states.values()) if model else []
        return sorted(found, key=lambda item: -item.version)

    def _check_labels(self) -> None:
        for model in self._models.values():
            for version in model.config.labels.values():
                if not self._allow_early_labels:
                    raise ServingError(
                        Code.FAILED_PRECONDITION,
                        f"Request to assign label to version {version} of model {model.config.name}, "
                        "which is not currently available for inference",
                    )

    def _load_first(self, model: _Model, failed: dict[str, list[VersionState]]) -> None:
        name = model.config.name
        try:
            wanted = self._await_versions(model)
        except Exception as error:  # noqa: BLE001 - this thread has nobody else to tell
            failed[name] = [VersionState(-1, State.END, describe(error))]
            return
        for directory in reversed(wanted):
            self._load(model, directory)
        with self._lock:
            if not model.loaded:
                failed[name] = sorted(model.states.values(), key=lambda item: item.version)

    def _await_versions(self, model: _Model) -> list[VersionDirectory]:
        """Versions to load. Waits for the first one while polling is on; without polling nothing can appear any more."""
        while True:
            missing: ServingError | None = None
            try:
                wanted = versions.find(model.config)
            except ServingError as error:
                wanted, missing = [], error
            if wanted:
                return wanted
            reason = missing or ServingError(Code.NOT_FOUND, _no_versions(model.config))
            if self._policy.poll_seconds == 0:
                raise reason
            if missing:
                _log.error("FileSystemStoragePathSource encountered a filesystem access error: %s", missing.message)
            else:
                _log.warning("%s", reason.message)
            if self._stop.wait(self._policy.poll_seconds if self._policy.poll_seconds > 0 else None):
                return []

    def _load(self, model: _Model, directory: VersionDirectory) -> None:
        name, version = model.config.name, directory.version
        servable: Servable | None = None
        error: ServingError | None = None
        with self._lock:
            model.set_state(version, State.LOADING)
        for attempt in range(self._policy.max_retries + 1):
            if attempt and (self._stop.wait(max(self._policy.retry_interval_seconds, 0)) or self._stop.is_set()):
                break
            if attempt:
                _log.info("Retrying of loading servable: {name: %s version: %d} retry: %d", name, version, attempt)
            try:
                servable, error = self._loader.load(name, version, directory.path), None
                break
            except Exception as problem:  # noqa: BLE001 - any failure of a load becomes the version's state
                error = describe(problem)
                _log.error("Loading servable: {name: %s version: %d} failed: %s", name, version, error)
        with self._lock:
            if servable is None:
                model.set_state(version, State.END, error)
                return
            model.loaded[version] = servable
            model.refresh_latest()
            model.set_state(version, State.AVAILABLE)
        _log.info("Successfully loaded servable version {name: %s version: %d}", name, version)

    def _poll_forever(self) -> None:
        while not self._stop.wait(self._policy.poll_seconds):
            for model in self._models.values():
                self._poll_guarded(model)

    def _poll_guarded(self, model: _Model) -> None:
        try:
            self._poll(model)
        except ServingError as error:
            _log.error("FileSystemStoragePathSource encountered a filesystem access error: %s", error.message)
        except Exception:  # noqa: BLE001 - logged; polling must go on
            _log.exception("polling for new versions failed")

    def _poll(self, model: _Model) -> None:
        """Load versions that are new, then take away those that are no longer wanted."""
        wanted = versions.find(model.config)
        if not wanted:
            _log.warning("%s", _no_versions(model.config))
        with self._lock:
            known = {version for version, state in model.states.items() if state.state != State.END or state.error}
        for directory in reversed(wanted):
            if directory.version not in known:
                self._load(model, directory)
        numbers = {directory.version for directory in wanted}
        with self._lock:
            for version in [v for v, s in model.states.items() if v not in numbers and s.error]:
                # Out of the wanted set and back again means: try once more.
                model.set_state(version, State.END)
            gone = [version for version in model.loaded if version not in numbers]
            if numbers and not numbers & set(model.loaded):
                # None of the wanted ones could be loaded: what is there goes on serving.
                gone = []
        for version in gone:
            self._unload(model, version)

    def _unload(self, model: _Model, version: int) -> None:
        with self._lock:
            servable = model.loaded.pop(version)
            model.refresh_latest()
            model.set_state(version, State.UNLOADING)
        servable.close()
        with self._lock:
            model.set_state(version, State.END)
        _log.info("Done unloading servable version {name: %s version: %d}", model.config.name, version)


def _labelled(model: _Model | None, label: str) -> int:
    if model is None or label not in model.labels:
        raise invalid_argument(f"Unrecognized servable version label: {label}")
    return model.labels[label]


def _no_versions(config: ModelConfig) -> str:
    return (
        f"No versions of servable {config.name} found under base path {config.base_path}. "
        "Did you forget to name your leaf directory as a number (eg. '/1/')?"
    )


def _not_available(failed: dict[str, list[VersionState]]) -> ServingError:
    """One status for all models without a version, worded as the C++ server words it."""
    states = [(name, state) for name in sorted(failed) for state in failed[name]]
    if len(states) == 1 and states[0][1].version < 0 and states[0][1].error:
        return states[0][1].error
    parts = []
    for name, state in states:
        reason = f" due to error: {state.error}" if state.error else ""
        version = f" version: {state.version}" if state.version >= 0 else ""
        parts.append(f"{{{{name: {name}{version}}}{reason}}}, ")
    return ServingError(Code.UNKNOWN, f"{len(states)} servable(s) did not become available: {{{''.join(parts)}}}")
