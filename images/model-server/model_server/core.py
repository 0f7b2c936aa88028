"""What both protocols share: the models, the prediction, the counting."""

import time
from dataclasses import dataclass
from typing import Any

from model_server import metadata, status
from model_server.errors import ServingError, invalid_argument
from model_server.manager import Manager
from model_server.metrics import Metrics
from model_server.predict import Predictor


@dataclass(frozen=True, slots=True)
class Core:
    """The server without its ports."""

    manager: Manager
    predictor: Predictor
    metrics: Metrics

    def predict(self, request: Any, timeout_ms: int) -> Any:
        """Answer a gRPC PredictRequest, counted and timed; ServingError if it fails."""
        started = time.monotonic()
        name: str = request.model_spec.name
        outcome = "INTERNAL"
        try:
            if not request.HasField("model_spec"):
                raise invalid_argument("Missing ModelSpec")
            with self.manager.acquire(request.model_spec) as servable:
                response = self.predictor.predict(servable, request, timeout_ms)
            outcome = "OK"
        except ServingError as error:
            outcome = error.code.name
            raise
        finally:
            self.metrics.request(name, outcome)
        self.metrics.request_latency.observe((time.monotonic() - started) * 1e6, name, "Predict", "GRPC")
        return response

    def model_metadata(self, request: Any) -> Any:
        """Answer a GetModelMetadataRequest."""
        return metadata.get(self.manager, request)

    def model_status(self, request: Any) -> Any:
        """Answer a GetModelStatusRequest."""
        return status.get(self.manager, request)
