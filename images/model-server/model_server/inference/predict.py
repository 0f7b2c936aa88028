"""Predict: check a request against its signature, run the model, give the outputs back.

Both protocols end here: gRPC with TensorProtos, REST with tensors made from JSON. The checks and their order are those of
`RunPredict` in the C++ server.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model_server.errors import Code, ServingError, invalid_argument
from model_server.metrics import Metrics
from model_server.protobuf.generated import predict_pb2
from model_server.runtime.servable import DEFAULT_SIGNATURE, Servable
from model_server.tensors import host_tensor
from model_server.tensors.host_tensor import HostTensor

PREDICT_METHODS = (
    "tensorflow/serving/predict",
    "tensorflow/serving/classify",
    "tensorflow/serving/regress",
)
_Decode = Callable[[Any], HostTensor]


class Predictor:
    """Answers Predict on a version that the caller holds."""

    def __init__(self, metrics: Metrics, *, check_method_name: bool, as_tensor_content: bool) -> None:
        self._metrics = metrics
        self._check_method_name, self._as_tensor_content = check_method_name, as_tensor_content

    def predict(self, servable: Servable, request: Any, timeout_ms: int) -> Any:
        """A PredictRequest in, a PredictResponse out."""
        prepared = self.prepared(servable, request)
        return self.response(prepared, self._timed_run(prepared, timeout_ms))

    def prepared(self, servable: Servable, request: Any) -> "Prepared":
        """A checked PredictRequest; ServingError if it does not suit the model."""
        name = request.model_spec.signature_name or DEFAULT_SIGNATURE
        return self._prepared(servable, name, request.inputs, request.output_filter, host_tensor.from_proto)

    def response(self, prepared: "Prepared", values: Sequence[HostTensor]) -> Any:
        """The PredictResponse with the values of `prepared.fetches`."""
        response = predict_pb2.PredictResponse()
        fill_model_spec(response.model_spec, prepared.servable, prepared.signature_name)
        for alias, tensor in zip(prepared.aliases, values, strict=True):
            response.outputs[alias].CopyFrom(host_tensor.to_proto(tensor, as_content=self._as_tensor_content))
        return response

    def ran(self, servable: Servable, seconds: float) -> None:
        """Count the time of one run, the wait for its batch included."""
        self._metrics.runtime_latency.observe(seconds * 1e6, servable.name, "Predict", "TF1")

    def run(
        self,
        servable: Servable,
        signature_name: str,
        inputs: Mapping[str, Any],
        output_filter: Sequence[str],
        timeout_ms: int,
        decode: _Decode,
    ) -> dict[str, HostTensor]:
        """Run one signature: values by alias in, tensors by alias out. `decode` turns a value into a tensor (ValueError: malformed)."""
        prepared = self._prepared(servable, signature_name, inputs, output_filter, decode)
        return dict(zip(prepared.aliases, self._timed_run(prepared, timeout_ms), strict=True))

    def _timed_run(self, prepared: "Prepared", timeout_ms: int) -> list[HostTensor]:
        started = time.monotonic()
        values = prepared.servable.run(prepared.feeds, prepared.fetches, timeout_ms)
        self.ran(prepared.servable, time.monotonic() - started)
        return values

    def _prepared(
        self,
        servable: Servable,
        signature_name: str,
        inputs: Mapping[str, Any],
        output_filter: Sequence[str],
        decode: _Decode,
    ) -> "Prepared":
        signature = servable.signatures.get(signature_name)
        if signature is None:
            raise ServingError(Code.FAILED_PRECONDITION, f'Serving signature key "{signature_name}" not found.')
        if self._check_method_name and signature.method_name not in PREDICT_METHODS:
            raise ServingError(
                Code.INTERNAL,
                f"Expected prediction signature method_name to be one of {{{', '.join(PREDICT_METHODS)}}}. "
                f"Was: {signature.method_name}",
            )
        feeds = _feeds(signature, inputs, decode)
        fetches = _fetches(signature, output_filter)
        return Prepared(servable, signature_name, feeds, list(fetches), list(fetches.values()))


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that can be run: what to feed and to fetch, and the aliases of what is fetched."""

    servable: Servable
    signature_name: str
    feeds: list[tuple[str, HostTensor]]
    aliases: list[str]
    fetches: list[str]


def fill_model_spec(spec: Any, servable: Servable, signature_name: str) -> None:
    """Say which model, version and signature answered."""
    spec.name = servable.name
    spec.version.value = servable.version
    spec.signature_name = signature_name


def _feeds(signature: Any, inputs: Mapping[str, Any], decode: _Decode) -> list[tuple[str, HostTensor]]:
    expected, given = signature.inputs, inputs
    if len(given) > len(expected) or (len(given) < len(expected) and not signature.defaults):
        raise invalid_argument(_size_mismatch(set(given), set(expected)))
    feeds = []
    for alias in sorted(expected):
        if alias in given:
            source = given[alias]
        elif alias in signature.defaults:
            source = signature.defaults[alias]
        else:
            raise invalid_argument(
                f"Signature input alias: {alias}(feed name: {expected[alias].name}) not found in request and no default "
                f"value provided. Inputs expected to be in the request {_braces(given)}, or default input alias set: "
                f"{', '.join(sorted(signature.defaults))}"
            )
        try:
            tensor = source if isinstance(source, HostTensor) else decode(source)
        except ValueError as error:
            raise invalid_argument(f"tensor parsing error: {alias}") from error
        feeds.append((expected[alias].name, tensor))
    return feeds


def _size_mismatch(given: set[str], expected: set[str]) -> str:
    return (
        f"input size does not match signature: {len(given)}!={len(expected)} len({_braces(given)}) != "
        f"len({_braces(expected)}). Sent extra: {_braces(given - expected)}. "
        f"Missing but required: {_braces(expected - given)}."
    )


def _fetches(signature: Any, output_filter: Sequence[str]) -> dict[str, str]:
    """Tensor names to fetch, by alias."""
    fetches: dict[str, str] = {}
    for alias in output_filter:
        if alias not in signature.outputs:
            raise invalid_argument(
                f"output tensor alias not found in signature: {alias} "
                f"Outputs expected to be in the set {_braces(signature.outputs)}."
            )
        if alias in fetches:
            raise invalid_argument(f"duplicate output tensor alias: {alias}")
        fetches[alias] = signature.outputs[alias].name
    return fetches or {alias: signature.outputs[alias].name for alias in sorted(signature.outputs)}


def _braces(names: Any) -> str:
    return "{" + ",".join(sorted(names)) + "}"
