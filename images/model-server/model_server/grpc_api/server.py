"""The gRPC port: PredictionService, ModelService, ProfilerService, health and reflection on one server."""

import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from model_server.config.options import Options
from model_server.errors import Code, ServingError, invalid_argument
from model_server.grpc_api import lane_choice, undecodable
from model_server.grpc_api.predict_calls import PredictCalls
from model_server.profiler import messages
from model_server.profiler.service import Profiler
from model_server.protobuf import textproto
from model_server.protobuf.generated import (
    model_service_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2,
    prediction_service_pb2_grpc,
)
from model_server.service import Service

#: Waiting in a batching queue or for the model costs a thread, not a CPU: fewer would keep batches small.
MINIMUM_WORKERS = 32
#: Health services, with the unqualified names of the C++ server.
HEALTH_SERVICES = ("", "ModelService", "PredictionService")
#: Their names come from the descriptors: the generated stubs load none, and a service without one cannot be described.
REFLECTED: tuple[str, ...] = (
    prediction_service_pb2.DESCRIPTOR.services_by_name["PredictionService"].full_name,
    model_service_pb2.DESCRIPTOR.services_by_name["ModelService"].full_name,
    reflection.SERVICE_NAME,
)
PREDICT_METHOD = "/tensorflow.serving.PredictionService/Predict"
_STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}
_UNLIMITED = -1
_MAX_MESSAGE_BYTES = 2**31 - 1
_ARGUMENTS: dict[str, int | str] = {
    "grpc.max_send_message_length": _UNLIMITED,
    "grpc.max_receive_message_length": _MAX_MESSAGE_BYTES,
    # A second server on the port is an error, not a silent partner.
    "grpc.so_reuseport": 0,
}
_FOREVER_SECONDS = 2**31 / 1000
_log = logging.getLogger(__name__)


class GrpcServer:
    """A gRPC server that is bound at construction and answers after `start`."""

    def __init__(self, service: Service, options: Options, profiler: Profiler | None) -> None:
        """Bind the port and the socket; ServingError if one cannot be bound or the TLS file is bad."""
        self._profiler = profiler
        workers = max(options.grpc_max_threads, MINIMUM_WORKERS)
        pool = ThreadPoolExecutor(workers, thread_name_prefix="grpc")
        arguments = _channel_arguments(options.grpc_channel_arguments)
        self._server = grpc.server(pool, interceptors=[undecodable.Refusal()], options=arguments)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(_Prediction(service), self._server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(_Models(service), self._server)
        self._health: Any = None
        names = REFLECTED
        if options.enable_grpc_healthcheck_service:
            self._health = health.HealthServicer()
            health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
            for name in HEALTH_SERVICES:
                self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
            names = (*names, health.SERVICE_NAME)
        if profiler is not None:
            self._server.add_generic_rpc_handlers((_profiler_handler(profiler),))
            names = (*names, messages.SERVICE)
        reflection.enable_server_reflection(names, self._server)
        self._predict_calls = PredictCalls(service, workers, batching=options.enable_batching)
        self._lane = lane_choice.attach(self._server, PREDICT_METHOD, self._predict_calls, os.environ)
        self._bind(options)

    def start(self) -> None:
        """Answer requests."""
        self._server.start()
        if self._lane is not None:
            self._predict_calls.start()
            self._lane.start()

    def not_serving(self) -> None:
        """Turn health to NOT_SERVING for good."""
        if self._health is not None:
            self._health.enter_graceful_shutdown()

    def stop(self, grace_seconds: float) -> Any:
        """Send GOAWAY, refuse new calls, let running ones finish; an event that is set when all are done or cancelled."""
        stopped = self._server.stop(grace_seconds)
        if self._profiler is not None:
            self._profiler.stop()
        return stopped

    def _bind(self, options: Options) -> None:
        credentials = _credentials(options.ssl_config_file)
        targets = [f"0.0.0.0:{options.port}"] if options.port else []
        if options.grpc_socket_path:
            targets.append(f"unix:{options.grpc_socket_path}")
        for target in targets:
            try:
                if credentials is None:
                    bound = self._server.add_insecure_port(target)
                else:
                    bound = self._server.add_secure_port(target, credentials)
            except RuntimeError as error:
                _log.error("%s", error)
                bound = 0
            if not bound:
                raise invalid_argument("Failed to BuildAndStart gRPC server")


def _credentials(ssl_config_file: str) -> Any:
    if not ssl_config_file:
        return None
    config = textproto.read(ssl_config_file, textproto.message_class("SSLConfig")())
    return grpc.ssl_server_credentials(
        [(config.server_key.encode(), config.server_cert.encode())],
        root_certificates=config.custom_ca.encode() or None,
        require_client_auth=config.client_verify,
    )


def _channel_arguments(text: str) -> list[tuple[str, int | str]]:
    """`k=v,k=v`; numbers become integers. An item without `=` is skipped with a warning."""
    given: dict[str, int | str] = {}
    for item in filter(None, text.split(",")):
        key, equals, value = item.partition("=")
        if not equals:
            _log.warning("grpc_channel_arguments: '%s' has no '=' and is ignored", item)
            continue
        try:
            given.setdefault(key, int(value))
        except ValueError:
            given.setdefault(key, value)
    return list((_ARGUMENTS | given).items())  # of equal keys gRPC takes the first


def _answer(context: Any, action: Callable[[], Any]) -> Any:
    """Run `action`; every failure becomes a status, never a stack trace."""
    try:
        return action()
    except ServingError as error:
        problem = error
    except Exception:  # noqa: BLE001 - logged, and hidden from the client
        _log.exception("a request failed unexpectedly")
        problem = ServingError(Code.INTERNAL, "Internal error; see the log of the server.")
    return context.abort(_STATUS_CODES[int(problem.code)], problem.grpc_message)


def _timeout_ms(context: Any) -> int:
    """Milliseconds until the call's deadline; 0 if it has none."""
    remaining = context.time_remaining()
    return 0 if remaining is None or remaining > _FOREVER_SECONDS else max(int(remaining * 1000), 1)


class _Prediction(prediction_service_pb2_grpc.PredictionServiceServicer):  # type: ignore[misc]
    """tensorflow.serving.PredictionService; methods are named by the protocol."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def Predict(self, request: Any, context: Any) -> Any:  # noqa: N802
        return _answer(context, lambda: self._service.predict(request, _timeout_ms(context)))

    def GetModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        return _answer(context, lambda: self._service.model_metadata(request))

    def Classify(self, request: Any, context: Any) -> Any:  # noqa: N802
        return _answer(context, lambda: self._service.classify(request, _timeout_ms(context)))

    def Regress(self, request: Any, context: Any) -> Any:  # noqa: N802
        return _answer(context, lambda: self._service.regress(request, _timeout_ms(context)))

    def MultiInference(self, request: Any, context: Any) -> Any:  # noqa: N802
        return _answer(context, lambda: self._service.multi_inference(request, _timeout_ms(context)))


class _Models(model_service_pb2_grpc.ModelServiceServicer):  # type: ignore[misc]
    """tensorflow.serving.ModelService; methods are named by the protocol."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def GetModelStatus(self, request: Any, context: Any) -> Any:  # noqa: N802
        return _answer(context, lambda: self._service.model_status(request))

    def HandleReloadConfigRequest(self, request: Any, context: Any) -> Any:  # noqa: N802
        return _answer(context, lambda: self._service.reload(request, _timeout_ms(context)))


def _profiler_handler(profiler: Profiler) -> Any:
    """tensorflow.ProfilerService. Answers leave as bytes: a profile may be large."""

    def method(request_class: Any, action: Callable[[Any, Any], bytes]) -> Any:
        return grpc.unary_unary_rpc_method_handler(
            lambda request, context: _answer(context, lambda: action(request, context)),
            request_deserializer=request_class.FromString,
        )

    methods = {
        "Profile": method(messages.ProfileRequest, profiler.profile),
        "Terminate": method(messages.TerminateRequest, profiler.terminate),
        "Monitor": method(messages.MonitorRequest, profiler.monitor),
    }
    return grpc.method_handlers_generic_handler(messages.SERVICE, methods)
