"""Changing the served models while serving: HandleReloadConfigRequest, and the model config file read again and again.

Both replace the whole list. Unlike the C++ server, waiting for new models holds no lock: a model that cannot be found hangs
neither the next reload nor the file's poll, and the call that brought it is told at once.
"""

import logging
import threading
from collections.abc import Iterable, Sequence
from typing import Any

from model_server.config import from_flags
from model_server.config.settings import ModelConfig
from model_server.errors import Code, ServingError, invalid_argument
from model_server.metrics import Metrics
from model_server.models.manager import Manager
from model_server.protobuf import textproto
from model_server.protobuf.generated import model_management_pb2, model_server_config_pb2

#: What a call gets back before its own deadline strikes, so that it learns why.
_ANSWER_SECONDS = 0.05
_log = logging.getLogger(__name__)


class Reloader:
    """Applies configurations; the only one who does after the start."""

    def __init__(self, manager: Manager, metrics: Metrics) -> None:
        self._manager, self._metrics = manager, metrics

    def start(self, models: Sequence[ModelConfig]) -> None:
        """Load the first configuration; see `Manager.start`."""
        self._know(models)
        self._manager.start(models)

    def handle(self, request: Any, timeout_ms: int) -> Any:
        """A ReloadConfigRequest in, a ReloadConfigResponse out. Waits for new models, at most `timeout_ms` (0: no limit)."""
        names = list(dict.fromkeys(request.metric_names))
        before = [self._metrics.total(name) for name in names]
        if request.config.WhichOneof("config") != "model_config_list":
            raise _refused(
                invalid_argument(
                    "ServerModelConfig type not supported by HandleReloadConfigRequest. "
                    "Only ModelConfigList is currently supported"
                )
            )
        for index, entry in enumerate(request.config.model_config_list.config):
            _log.info(
                "\nConfig entry\n\tindex : %d\n\tpath : %s\n\tname : %s\n\tplatform : %s",
                index, entry.base_path, entry.name, entry.model_platform,
            )  # fmt: skip
        try:
            new = self._apply(request.config)
            seconds = max(timeout_ms / 1000 - _ANSWER_SECONDS, 0) if timeout_ms else None
            self._manager.wait_available(new, seconds)
        except ServingError as error:
            raise _refused(error) from error
        response = model_management_pb2.ReloadConfigResponse()
        response.status.error_code = 0
        for name, old in zip(names, before, strict=True):
            response.metric.add(name=name, int64_value_increase=self._metrics.total(name) - old)
        return response

    def poll_file(self, path: str, seconds: int) -> None:
        """Apply the file every `seconds` from now on, unchanged or not, on a thread of its own."""
        threading.Thread(target=self._poll_forever, args=(path, seconds), name="config-poll", daemon=True).start()

    def _poll_forever(self, path: str, seconds: int) -> None:
        while not self._manager.stopped.wait(seconds):
            try:
                message = textproto.read(path, model_server_config_pb2.ModelServerConfig())
            except ServingError as error:
                _log.error("Failed to read ModelServerConfig file: %s", error.message)
                continue
            try:
                self._apply(message)
            except ServingError as error:
                _log.error("PollFilesystemAndReloadConfig failed to ReloadConfig: %s", error.message)
            except Exception:  # noqa: BLE001 - logged; polling must go on
                _log.exception("reading the model config file failed")

    def _apply(self, message: Any) -> list[str]:
        kind = message.WhichOneof("config")
        if kind is None:
            _log.info("Taking no action for empty config.")
            return []
        if kind != "model_config_list":
            raise ServingError(
                Code.FAILED_PRECONDITION,
                "Cannot transition to requested config. It is only legal to transition from one ModelConfigList to "
                "another.",
            )
        models = from_flags.listed_models(message)
        self._know(models)
        return self._manager.apply(models)

    def _know(self, models: Iterable[ModelConfig]) -> None:
        for model in models:
            self._metrics.know_model(model.name)


def _refused(error: ServingError) -> ServingError:
    _log.error("ReloadConfig failed: %s", error.message)
    return error
