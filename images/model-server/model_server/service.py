"""The service behind both ports: takes messages of either protocol, picks the model, runs, counts and times."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from model_server.errors import ServingError, invalid_argument
from model_server.inference.classify_regress import Inference
from model_server.inference.predict import Predictor
from model_server.metrics import Metrics
from model_server.models import metadata, status
from model_server.models.manager import Manager
from model_server.models.reload import Reloader
from model_server.protobuf.generated import model_pb2


@dataclass(frozen=True, slots=True)
class Service:
    """Every method of the API, without a port."""

    manager: Manager
    predictor: Predictor
    inference: Inference
    metrics: Metrics
    reloader: Reloader

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

    def classify(self, request: Any, timeout_ms: int) -> Any:
        """Answer a gRPC ClassificationRequest, counted and timed."""
        return self._counted("Classify", request, lambda: self.run_classify(request, timeout_ms))

    def regress(self, request: Any, timeout_ms: int) -> Any:
        """Answer a gRPC RegressionRequest, counted and timed."""
        return self._counted("Regress", request, lambda: self.run_regress(request, timeout_ms))

    def run_classify(self, request: Any, timeout_ms: int) -> Any:
        """Answer a ClassificationRequest; ServingError if it fails."""
        with self.manager.acquire(_spec(request)) as servable:
            return self.inference.classify(servable, request, timeout_ms)

    def run_regress(self, request: Any, timeout_ms: int) -> Any:
        """Answer a RegressionRequest; ServingError if it fails."""
        with self.manager.acquire(_spec(request)) as servable:
            return self.inference.regress(servable, request, timeout_ms)

    def multi_inference(self, request: Any, timeout_ms: int) -> Any:
        """Answer a MultiInferenceRequest. As in the C++ server only its examples are counted."""
        spec = request.tasks[0].model_spec if request.tasks else model_pb2.ModelSpec()
        with self.manager.acquire(spec) as servable:
            return self.inference.multi_inference(servable, request, timeout_ms)

    def reload(self, request: Any, timeout_ms: int) -> Any:
        """Answer a ReloadConfigRequest."""
        return self.reloader.handle(request, timeout_ms)

    def _counted(self, api: str, request: Any, action: Callable[[], Any]) -> Any:
        started = time.monotonic()
        name: str = request.model_spec.name
        outcome = "INTERNAL"
        try:
            response = action()
            outcome = "OK"
        except ServingError as error:
            outcome = error.code.name
            raise
        finally:
            self.metrics.request(name, outcome)
        self.metrics.request_latency.observe((time.monotonic() - started) * 1e6, name, api, "GRPC")
        return response

    def model_metadata(self, request: Any) -> Any:
        """Answer a GetModelMetadataRequest."""
        return metadata.get(self.manager, request)

    def model_status(self, request: Any) -> Any:
        """Answer a GetModelStatusRequest."""
        return status.get(self.manager, request)


def _spec(request: Any) -> Any:
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    return request.model_spec
