"""The REST API without HTTP: from method, path and body to status, headers and body."""

import re
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from model_server.errors import Code, ServingError, invalid_argument
from model_server.models import metadata, status
from model_server.protobuf.generated import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    regression_pb2,
)
from model_server.rest import examples_json, predict_json
from model_server.runtime.servable import DEFAULT_SIGNATURE, Servable
from model_server.service import Service
from model_server.tensors.host_tensor import HostTensor

_PREDICTION = re.compile(
    r"/v1/models/([^/:]+)(?:(?:/versions/([0-9]+))|(?:/labels/([^/:]+)))?:(classify|regress|predict)", re.IGNORECASE
)
_STATUS = re.compile(
    r"/v1/models(?:/([^/:]+))?(?:(?:/versions/([0-9]+))|(?:/labels/([^/:]+)))?(?:/(metadata))?", re.IGNORECASE
)
_CORS = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Methods", "POST, GET"),
    ("Access-Control-Allow-Headers", "Content-Type"),
)
_JSON = (("Content-Type", "application/json"),)
_MAX_VERSION = 2**63
_VERSION_DIGITS = 19


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer without the transport's own headers."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(slots=True)
class _Call:
    """What the path said; kept for counting even when the request fails."""

    model: str = ""
    api: str = ""


class RestApi:
    """Answers requests under /v1/."""

    def __init__(self, service: Service, timeout_ms: int, *, cors: bool) -> None:
        self._service, self._timeout_ms = service, timeout_ms
        self._cors = _CORS if cors else ()

    def handle(self, method: str, path: str, body: bytes, origin: str) -> Reply:
        """Answer one request. Never raises ServingError: it becomes `{"error": …}` with its HTTP status."""
        started = time.monotonic()
        call = _Call()
        headers: tuple[tuple[str, str], ...] = _JSON
        code, http_status, text = Code.OK, 200, ""
        try:
            if method == "OPTIONS":
                headers = ()
                _check_origin(origin)
            else:
                text = self._dispatch(method, path, body, call)
        except ServingError as error:
            code, http_status = error.code, error.http_status
            text = predict_json.error_text(error.message) if method != "OPTIONS" else ""
        if code is Code.OK:
            self._service.metrics.request_latency.observe(
                (time.monotonic() - started) * 1e6, call.model, call.api, "REST"
            )
        self._service.metrics.request(call.model, code.name)
        return Reply(http_status, headers + self._cors, _encoded(text))

    def _dispatch(self, method: str, path: str, body: bytes, call: _Call) -> str:
        pattern = {"POST": _PREDICTION, "GET": _STATUS}.get(method)
        match = pattern.fullmatch(path) if pattern else None
        if match is None:
            raise invalid_argument(f"Malformed request: {method} {path}")
        model, version, label, last = match.groups()
        call.model = _decoded(model or "")
        spec = _model_spec(call.model, version, label)
        if method == "POST":
            call.api = last
            # The C++ server compares exactly, although it matches the path in any case.
            if last == "predict":
                return self._predict(spec, body)
            if last == "classify":
                return self._classify(spec, body)
            if last == "regress":
                return self._regress(spec, body)
            raise invalid_argument(f"Malformed request: {method} {path}")
        if not call.model:
            raise invalid_argument("Missing model name in request.")
        return self._metadata(spec) if last == "metadata" else self._status(spec)

    def _predict(self, spec: Any, body: bytes) -> str:
        held: list[Servable] = []
        with ExitStack() as stack:

            def inputs_of(signature_name: str) -> Mapping[str, Any]:
                # Looked up once the body is known to be JSON: that fault comes before an unknown model.
                servable = stack.enter_context(self._service.manager.acquire(spec))
                held.append(servable)
                name = signature_name or DEFAULT_SIGNATURE
                signature = servable.signatures.get(name)
                if signature is None:
                    raise invalid_argument(f'Serving signature name: "{name}" not found in signature def')
                inputs: Mapping[str, Any] = signature.inputs
                return inputs

            request = predict_json.parse_predict(body, inputs_of)
            outputs = self._service.predictor.run(
                held[0], request.signature_name or DEFAULT_SIGNATURE, request.tensors, (), self._timeout_ms, _as_it_is
            )
        return predict_json.predict_text(outputs, row_format=request.row_format)

    def _classify(self, spec: Any, body: bytes) -> str:
        request = classification_pb2.ClassificationRequest(model_spec=spec)
        examples_json.fill_request(body, request)
        return examples_json.classification_text(self._service.run_classify(request, self._timeout_ms).result)

    def _regress(self, spec: Any, body: bytes) -> str:
        request = regression_pb2.RegressionRequest(model_spec=spec)
        examples_json.fill_request(body, request)
        return examples_json.regression_text(self._service.run_regress(request, self._timeout_ms).result)

    def _metadata(self, spec: Any) -> str:
        request = get_model_metadata_pb2.GetModelMetadataRequest(model_spec=spec, metadata_field=["signature_def"])
        return metadata.to_json(self._service.model_metadata(request))

    def _status(self, spec: Any) -> str:
        return status.to_json(self._service.model_status(get_model_status_pb2.GetModelStatusRequest(model_spec=spec)))


def _as_it_is(value: Any) -> HostTensor:
    tensor: HostTensor = value
    return tensor


def _check_origin(origin: str) -> None:
    if not re.search("https?://", origin):
        raise ServingError(Code.FAILED_PRECONDITION, "Origin header is missing in CORS preflight")


def _model_spec(model: str, version: str | None, label: str | None) -> Any:
    spec = model_pb2.ModelSpec(name=model)
    if version:
        number = int(version) if len(version) <= _VERSION_DIGITS else _MAX_VERSION
        if number >= _MAX_VERSION:
            raise invalid_argument(f"Failed to convert version: {version} to numeric.")
        spec.version.value = number
    if label:
        spec.version_label = _decoded(label)
    return spec


def _decoded(name: str) -> str:
    return unquote_to_bytes(name).decode("utf-8", "replace")


def _encoded(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")
