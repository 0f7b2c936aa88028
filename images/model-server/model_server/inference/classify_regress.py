"""Classify, Regress and MultiInference: tf.Examples in, labels with scores or numbers out.

The checks, their order and their words are those of the C++ server's `classifier.cc`, `regressor.cc` and
`multi_inference.cc`.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from model_server.errors import Code, ServingError, invalid_argument
from model_server.inference import examples, signatures
from model_server.inference.signatures import CLASSIFY_METHOD, REGRESS_METHOD, Classification, Regression
from model_server.metrics import Metrics
from model_server.protobuf.generated import classification_pb2, inference_pb2, regression_pb2
from model_server.runtime.servable import DEFAULT_SIGNATURE, Servable
from model_server.tensors import dtypes
from model_server.tensors.host_tensor import HostTensor

_MATRIX = 2
_Values = Mapping[str, HostTensor]  # tensor name -> value


class Inference:
    """Answers on a version that the caller holds. `timeout_ms` 0 means none."""

    def __init__(self, metrics: Metrics, *, check_method_name: bool) -> None:
        self._metrics, self._check = metrics, check_method_name

    def classify(self, servable: Servable, request: Any, timeout_ms: int) -> Any:
        """A ClassificationRequest in, a ClassificationResponse out."""
        signature = signatures.named(servable.signatures, request.model_spec.signature_name)
        ports = signatures.classification(signature, check_method_name=self._check)
        count, values = self._run_one(servable, request, ports, timeout_ms, "Classify")
        response = classification_pb2.ClassificationResponse()
        _fill_model_spec(response.model_spec, servable, request.model_spec)
        fill_classifications(response.result, ports, values, count)
        return response

    def regress(self, servable: Servable, request: Any, timeout_ms: int) -> Any:
        """A RegressionRequest in, a RegressionResponse out."""
        signature = signatures.named(servable.signatures, request.model_spec.signature_name)
        ports = signatures.regression(signature, check_method_name=self._check)
        count, values = self._run_one(servable, request, ports, timeout_ms, "Regress")
        response = regression_pb2.RegressionResponse()
        _fill_model_spec(response.model_spec, servable, request.model_spec)
        fill_regressions(response.result, ports, values, count)
        return response

    def multi_inference(self, servable: Servable, request: Any, timeout_ms: int) -> Any:
        """A MultiInferenceRequest in, a MultiInferenceResponse out: one run of the graph for all tasks."""
        tasks = self._tasks(servable, request.tasks)
        feeds = sorted({ports.examples for ports in tasks})
        fetches = sorted({name for ports in tasks for name in ports.fetches})
        tensor = examples.to_tensor(request.input)
        count = len(tensor.array)
        outputs = servable.run([(name, tensor) for name in feeds], fetches, timeout_ms)
        self._metrics.examples(servable.name, count)
        values = dict(zip(fetches, outputs, strict=True))
        response = inference_pb2.MultiInferenceResponse()
        for task, ports in zip(request.tasks, tasks, strict=True):
            result = response.results.add()
            if isinstance(ports, Classification):
                fill_classifications(result.classification_result, ports, values, count)
            else:
                fill_regressions(result.regression_result, ports, values, count)
            _fill_model_spec(result.model_spec, servable, task.model_spec)
        return response

    def _run_one(
        self, servable: Servable, request: Any, ports: Classification | Regression, timeout_ms: int, api: str
    ) -> tuple[int, _Values]:
        tensor = examples.to_tensor(request.input)
        started = time.monotonic()
        outputs = servable.run([(ports.examples, tensor)], ports.fetches, timeout_ms)
        self._metrics.runtime_latency.observe((time.monotonic() - started) * 1e6, servable.name, api, "TF1")
        return len(tensor.array), dict(zip(ports.fetches, outputs, strict=True))

    def _tasks(self, servable: Servable, tasks: Sequence[Any]) -> list[Classification | Regression]:
        found: list[Classification | Regression] = []
        seen: set[str] = set()
        for task in tasks:
            if not task.model_spec.name:
                raise invalid_argument("Found ModelSpec with an empty model name.")
            if task.model_spec.name != tasks[0].model_spec.name:
                raise invalid_argument("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
            name = task.model_spec.signature_name or DEFAULT_SIGNATURE
            if name in seen:
                raise invalid_argument(f"Duplicate evaluation of signature: {name}")
            seen.add(name)
            if name not in servable.signatures:
                raise invalid_argument(f"Requested signature not found in model graph: {name}")
            found.append(self._ports(servable.signatures[name], task.method_name))
        return found

    def _ports(self, signature: Any, method_name: str) -> Classification | Regression:
        if method_name == CLASSIFY_METHOD:
            return signatures.classification(signature, check_method_name=self._check)
        if method_name == REGRESS_METHOD:
            return signatures.regression(signature, check_method_name=self._check)
        raise ServingError(Code.UNIMPLEMENTED, f"Unsupported signature method_name: {method_name}")


def fill_classifications(result: Any, ports: Classification, values: _Values, count: int) -> None:
    """Check the fetched tensors, both [count, classes], and write them into a ClassificationResult."""
    classes = values[ports.classes] if ports.classes is not None else None
    # Where both outputs are one tensor, the C++ server takes it for the classes.
    scores = values[ports.scores] if ports.scores is not None and ports.scores != ports.classes else None
    _check_matrix(classes, dtypes.STRING, "classes", count)
    _check_matrix(scores, dtypes.FLOAT, "scores", count)
    if classes is not None and scores is not None and classes.array.shape[1] != scores.array.shape[1]:
        raise invalid_argument(
            "Tensors class and score should match in dim_size(1). "
            f"Got {classes.array.shape[1]} vs. {scores.array.shape[1]}"
        )
    labels = classes.array.tolist() if classes is not None else None
    numbers = scores.array.tolist() if scores is not None else None
    width = next(tensor.array.shape[1] for tensor in (classes, scores) if tensor is not None)
    for row in range(count):
        found = result.classifications.add().classes
        for column in range(width):
            entry = found.add()
            if labels is not None:
                entry.label = _text(labels[row][column])
            if numbers is not None:
                entry.score = numbers[row][column]


def fill_regressions(result: Any, ports: Regression, values: _Values, count: int) -> None:
    """Check the fetched tensor, [count] or [count, 1], and write it into a RegressionResult."""
    tensor = values[ports.outputs]
    shape = tensor.array.shape
    if not (len(shape) == 1 or (len(shape) == _MATRIX and shape[1] == 1)):
        raise invalid_argument(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got " + _shape_text(shape)
        )
    if shape[0] != count:
        raise invalid_argument(f"Input batch size did not match output batch size: {count} vs. {shape[0]}")
    if tensor.dtype != dtypes.FLOAT:
        raise invalid_argument(f"Expected output Tensor of DT_FLOAT.  Got: {_type_text(tensor.dtype)}")
    for value in tensor.array.reshape(-1).tolist():
        result.regressions.add(value=value)


def _check_matrix(tensor: HostTensor | None, dtype: int, what: str, count: int) -> None:
    if tensor is None:
        return
    shape = tensor.array.shape
    if len(shape) != _MATRIX:
        raise invalid_argument(f"Expected Tensor shape: [batch_size num_classes] but got {_shape_text(shape)}")
    if tensor.dtype != dtype:
        raise invalid_argument(f"Expected {what} Tensor of {_type_text(dtype)}. Got: {_type_text(tensor.dtype)}")
    if shape[0] != count:
        raise invalid_argument(f"Expected {what} output batch size of {count}. Got: {shape[0]}")


def _fill_model_spec(answered: Any, servable: Servable, requested: Any) -> None:
    answered.name = servable.name
    answered.version.value = servable.version
    answered.signature_name = requested.signature_name or DEFAULT_SIGNATURE


def _text(label: bytes) -> str:
    """A label for a field that is UTF-8 by definition; the C++ server would send what no client can parse."""
    return label.decode("utf-8", "replace")


def _shape_text(shape: Sequence[int]) -> str:
    return f"[{','.join(map(str, shape))}]"


def _type_text(dtype: int) -> str:
    return "DT_" + dtypes.name_of(dtype).upper()
