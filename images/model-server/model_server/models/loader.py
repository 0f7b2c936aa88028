"""From a version directory to a `Servable`: session, batcher, warm-up."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from model_server.batching.batcher import Batcher, BatchScheduler
from model_server.config import from_flags
from model_server.config.settings import LoaderSettings
from model_server.errors import Code, ServingError
from model_server.metrics import Metrics
from model_server.models import completeness, warmup
from model_server.protobuf.generated import meta_graph_pb2
from model_server.runtime.libtensorflow import Session, TensorFlow
from model_server.runtime.measured_runner import MeasuredRunner
from model_server.runtime.servable import Runner, Servable
from model_server.tflite.model import MODEL_FILE, TfLiteModel

_PER_MODEL_BATCHING_FILE = "batching_params.pbtxt"
_log = logging.getLogger(__name__)


class Loader:
    """Loads versions. One instance per process; `load` may run in several threads."""

    def __init__(
        self, library: Callable[[], TensorFlow], settings: LoaderSettings, replayer: warmup.Replayer, metrics: Metrics
    ) -> None:
        self._library, self._settings = library, settings
        self._replayer, self._metrics = replayer, metrics
        self._scheduler: BatchScheduler | None = None
        if settings.batching is not None:
            self._scheduler = BatchScheduler(settings.batching.num_batch_threads)

    def load(self, name: str, version: int, path: str) -> Servable:
        """Load and warm up `path`. ServingError with TensorFlow's words if that fails; then nothing is left behind."""
        session, signatures = self._model(path)
        try:
            runner = self._batched(path, session)
            servable = Servable(name, version, signatures, runner)
            if self._settings.warmup_enabled:
                warmup.replay(path, servable, self._replayer, self._settings.warmup_iterations, self._metrics)
        except BaseException:
            session.close()
            raise
        return servable

    def _model(self, path: str) -> tuple[Runner, dict[str, Any]]:
        """A way to run the model, and its signatures."""
        lite = Path(path) / MODEL_FILE
        if self._settings.prefer_tflite and lite.exists():
            model = TfLiteModel(lite, self._settings.tflite_interpreters)
            return model, model.signatures
        session = self._session(path)
        try:
            graph = meta_graph_pb2.MetaGraphDef.FromString(session.signatures)
        except BaseException:
            session.close()
            raise
        return MeasuredRunner(session, self._metrics), dict(graph.signature_def)

    def _session(self, path: str) -> Session:
        completeness.check(path)
        started = time.monotonic()
        outcome = "fail"
        try:
            session = Session(self._library(), path, self._settings.tags, self._settings.session_config)
            outcome = "success"
            return session
        finally:
            self._metrics.load_attempts.add(path, outcome)
            self._metrics.load_latency.add(path, amount=int((time.monotonic() - started) * 1e6))

    def _batched(self, path: str, session: Runner) -> Runner:
        settings = self._settings.batching
        if settings is None or self._scheduler is None:
            return session
        if self._settings.per_model_batching:
            own = Path(path) / _PER_MODEL_BATCHING_FILE
            if not own.exists():
                return session
            settings = from_flags.read_batching(str(own))
        _log.info("Wrapping session to perform batch processing")
        return Batcher(session, settings, self._scheduler, self._metrics)


def describe(error: Exception) -> ServingError:
    """Any failure of a load as a status; memory exhaustion and system errors included."""
    if isinstance(error, ServingError):
        return error
    code = Code.RESOURCE_EXHAUSTED if isinstance(error, MemoryError) else Code.INTERNAL
    return ServingError(code, f"{type(error).__name__}: {error}")
