"""The served models: initial load, polling for versions, changes of the configuration, and the way from a request to a version.

A configuration is applied as a whole or not at all. Nothing waits while a lock is held: `start` and `wait_available` only watch
what the models' own threads do.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from model_server.config.options import schedulable_cpus
from model_server.config.settings import ModelConfig
from model_server.errors import Code, ServingError, invalid_argument
from model_server.models import versions
from model_server.models.load_slots import Slots
from model_server.models.served_model import LoadPolicy, Outcome, ServedModel, VersionLoader, VersionState, Workshop
from model_server.runtime.servable import Servable

#: Loads at the same time before the ports are open, per CPU; as in the C++ server.
_INITIAL_LOADS_PER_CPU = 4
_Labels = Mapping[str, Mapping[str, int]]
_log = logging.getLogger(__name__)


class Manager:
    """Owns the models. `start` returns when every model takes requests."""

    def __init__(
        self, loader: VersionLoader, policy: LoadPolicy, *, allow_early_labels: bool, load_threads: int = 0
    ) -> None:
        self._policy, self._allow_early_labels, self._load_threads = policy, allow_early_labels, load_threads
        self._slots = Slots(_INITIAL_LOADS_PER_CPU * schedulable_cpus())
        self._workshop = Workshop(loader, policy, self._slots)
        self._models: dict[str, ServedModel] = {}
        self._configs: dict[str, ModelConfig] = {}
        self._labels: _Labels = {}
        self._configuring = threading.Lock()

    def start(self, models: Sequence[ModelConfig]) -> None:
        """Load every model's versions, then assign the labels.

        ServingError: UNKNOWN that names each version that failed, if a model has none; FAILED_PRECONDITION for a label on a
        version that did not become available.
        """
        self._apply(models, lambda _: {})
        if self._policy.poll_seconds > 0:
            threading.Thread(target=self._poll_forever, name="poll", daemon=True).start()
        with self._workshop.changed:
            self._workshop.changed.wait_for(lambda: self._workshop.stopped.is_set() or self._started())
        if self._workshop.stopped.is_set():
            raise ServingError(Code.CANCELLED, "stopped while loading")
        self._slots.resize(max(self._load_threads, 1))
        unavailable = self._unavailable(self._configs, all_versions=True)
        if unavailable:
            raise _not_available(unavailable, "servable(s)")
        with self._configuring:
            self._labels = self._checked_labels(models)

    @property
    def stopped(self) -> threading.Event:
        """Set once `stop` was called."""
        return self._workshop.stopped

    def stop(self) -> None:
        """Stop waiting and polling; loaded versions stay."""
        self._workshop.stopped.set()
        with self._workshop.changed:
            self._workshop.changed.notify_all()

    def apply(self, models: Sequence[ModelConfig]) -> list[str]:
        """Serve exactly these models from now on; the names of those that are new. ServingError, and no change, if refused."""
        return self._apply(models, self._checked_labels)

    def _apply(self, models: Sequence[ModelConfig], labels_of: Callable[[Iterable[ModelConfig]], _Labels]) -> list[str]:
        with self._configuring:
            self._check_platforms(models)
            labels = labels_of(models)
            before, self._configs = self._configs, {config.name: config for config in models}
            touched = [self._configured(config) for config in models if before.get(config.name) != config]
            for name in before.keys() - self._configs.keys():
                self._remove(self._models[name])
            self._labels = labels
        for model in touched:
            self.look(model)
        return [config.name for config in models if config.name not in before]

    def wait_available(self, names: Collection[str], timeout_seconds: float | None) -> None:
        """Wait until each of the models has a version, has failed, or has nothing to load; ServingError unless all have one."""

        def pending() -> bool:
            known = (self._models[name] for name in names if name in self._configs)
            return any(model.outcome(all_versions=False) is Outcome.PENDING for model in known)

        with self._workshop.changed:
            done = self._workshop.changed.wait_for(
                lambda: self._workshop.stopped.is_set() or not pending(), timeout_seconds
            )
        if not done:
            raise ServingError(Code.DEADLINE_EXCEEDED, "The new models are still being loaded.")
        unavailable = self._unavailable(names, all_versions=False)
        if unavailable:
            raise _not_available(unavailable, "model(s)")

    def acquire(self, spec: Any) -> AbstractContextManager[Servable]:
        """The version that a ModelSpec means (number, label, or the highest one loaded), kept loaded inside the block."""
        return _Lease(self._find(spec))

    def states(self, name: str) -> list[VersionState]:
        """States of all versions of a model, highest version first; empty if the model was never configured."""
        model = self._models.get(name)
        return model.states()[::-1] if model else []

    def look(self, model: ServedModel) -> None:
        """Look at a model's base path and say what should be loaded. Never raises."""
        config = model.config
        try:
            wanted = versions.find(config)
            nothing = None if wanted else ServingError(Code.NOT_FOUND, versions.none_found(config))
            if nothing:
                _log.warning("%s", nothing.message)
            model.aspire(wanted, config, nothing)
        except ServingError as error:
            _log.error("FileSystemStoragePathSource encountered a filesystem access error: %s", error.message)
            model.fail_to_look(config, error)
        except Exception as error:  # noqa: BLE001 - logged; polling must go on
            _log.exception("looking for versions failed")
            model.fail_to_look(config, ServingError(Code.INTERNAL, f"{type(error).__name__}: {error}"))

    def _find(self, spec: Any) -> Servable:
        name: str = spec.name
        if not name:
            raise invalid_argument("ModelSpec has no name specified.")
        choice = spec.WhichOneof("version_choice")
        version: int | None = None
        if choice is not None:
            version = spec.version.value if choice == "version" else self._labelled(name, spec.version_label)
        model = self._models.get(name)
        while model is not None:
            servable = model.latest if version is None else model.loaded.get(version)
            if servable is None:
                break
            if servable.retain():
                return servable
        wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
        raise ServingError(Code.NOT_FOUND, f"Servable not found for request: {wanted}")

    def _labelled(self, name: str, label: str) -> int:
        version = self._labels.get(name, {}).get(label)
        if version is None:
            raise invalid_argument(f"Unrecognized servable version label: {label}")
        return version

    def _check_platforms(self, models: Iterable[ModelConfig]) -> None:
        for config in models:
            old = self._configs.get(config.name)
            if old is not None and old.platform != config.platform:
                raise invalid_argument(
                    f"Illegal to change a model's platform. For model {config.name} platform was {old.platform} "
                    f"and new platform requested is {config.platform}"
                )

    def _checked_labels(self, models: Iterable[ModelConfig]) -> _Labels:
        """All labels, if each may be assigned: to a version that takes requests, or early, where that is allowed and no move."""
        for config in models:
            model = self._models.get(config.name)
            for label, version in config.labels.items():
                moved = self._labels.get(config.name, {}).get(label, version) != version
                available = model is not None and version in model.loaded
                if not available and (moved or not self._allow_early_labels):
                    raise ServingError(
                        Code.FAILED_PRECONDITION,
                        f"Request to assign label to version {version} of model {config.name}, "
                        "which is not currently available for inference",
                    )
        return {config.name: dict(config.labels) for config in models}

    def _configured(self, config: ModelConfig) -> ServedModel:
        _log.info(" (Re-)adding model: %s", config.name)
        model = self._models.get(config.name)
        if model is None:
            model = ServedModel(config, self._workshop)
            self._models = {**self._models, config.name: model}
        else:
            model.configure(config)
        return model

    def _remove(self, model: ServedModel) -> None:
        # A configuration of its own, so that a look that is under way counts no more.
        gone = ModelConfig(model.config.name, model.config.base_path)
        model.configure(gone)
        model.aspire((), gone)

    def _started(self) -> bool:
        outcomes = {self._models[name].outcome(all_versions=True) for name in self._configs}
        if Outcome.PENDING in outcomes:
            return False
        # Something may still appear, unless the start has failed already or nobody will look again.
        return Outcome.NOTHING not in outcomes or Outcome.FAILED in outcomes or self._policy.poll_seconds == 0

    def _unavailable(self, names: Iterable[str], *, all_versions: bool) -> dict[str, ServedModel | None]:
        with self._workshop.changed:
            return {
                name: self._models[name] if name in self._configs else None
                for name in sorted(names)
                if name not in self._configs
                or self._models[name].outcome(all_versions=all_versions) is not Outcome.AVAILABLE
            }

    def _poll_forever(self) -> None:
        while not self._workshop.stopped.wait(self._policy.poll_seconds):
            started = time.monotonic()
            for name in self._configs:
                self.look(self._models[name])
            if (spent := time.monotonic() - started) > self._policy.poll_seconds:
                _log.warning("looking for versions took %.1f s", spent)


class _Lease:
    """A version that is kept loaded while the block runs."""

    __slots__ = ("_servable",)

    def __init__(self, servable: Servable) -> None:
        self._servable = servable

    def __enter__(self) -> Servable:
        return self._servable

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._servable.release()


def _not_available(models: Mapping[str, ServedModel | None], noun: str) -> ServingError:
    """One status for all models without a version, worded as the C++ server words it."""
    parts: list[str] = []
    reasons: list[ServingError] = []
    for name, model in models.items():
        failed = [state for state in model.states() if state.error] if model else []
        if not failed:
            problem = (model.problem if model else None) or ServingError(Code.ABORTED, "it was removed meanwhile")
            reasons.append(problem)
            parts.append(f"{{{{name: {name}}} due to error: {problem}}}, ")
        parts += [f"{{{{name: {name} version: {state.version}}} due to error: {state.error}}}, " for state in failed]
    if len(parts) == len(reasons) == 1 and noun == "servable(s)":
        return reasons[0]
    return ServingError(Code.UNKNOWN, f"{len(parts)} {noun} did not become available: {{{''.join(parts)}}}")
