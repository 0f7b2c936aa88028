"""The process: flags, start order, ports, shutdown at SIGTERM, exit codes.

No port is open before every model has an available version. A start that fails ends with
`Failed to start server. Error: …` as the last line of output and exit code 255, so that a container platform that shows the
end of the log shows the reason.
"""

import logging
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from model_server import SERVING_VERSION, wheel
from model_server.config import flags, from_flags, platform_file
from model_server.config.options import Options
from model_server.errors import ServingError
from model_server.grpc_api.server import MINIMUM_WORKERS, GrpcServer
from model_server.inference.classify_regress import Inference
from model_server.inference.predict import Predictor
from model_server.log import set_up_logging
from model_server.metrics import Metrics
from model_server.models.loader import Loader
from model_server.models.manager import Manager
from model_server.models.reload import Reloader
from model_server.models.served_model import LoadPolicy
from model_server.models.warmup import Replayer
from model_server.profiler.service import Profiler
from model_server.protobuf.textproto import TextError
from model_server.rest.api import RestApi
from model_server.rest.server import RestServer
from model_server.runtime import op_libraries
from model_server.runtime.libtensorflow import TensorFlow
from model_server.service import Service

#: Seconds that running requests may take after SIGTERM, unless the environment says otherwise. Below Kubernetes' 30.
SHUTDOWN_SECONDS = 25.0
SHUTDOWN_VARIABLE = "MODEL_SERVER_SHUTDOWN_SECONDS"
_MAX_SHUTDOWN_SECONDS = 86_400.0
_FAILURE = 255
#: File descriptors that the process allows itself, where its hard limit does: a connection takes one.
_FILES = 65_536
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
#: What gRPC needs to cancel calls whose grace is over.
_CANCEL_SECONDS = 2.0
_log = logging.getLogger(__name__)


def main(arguments: Sequence[str]) -> None:
    """Run the server; `arguments` with the program's name first. Ends the process with the contract's exit code."""
    parsed = flags.parse(arguments[1:])
    program = "tensorflow_model_server"
    if parsed.usage_wanted:
        for problem in parsed.problems:
            print(problem, file=sys.stderr, flush=True)
        print(flags.usage(program), end="")
        _exit(_FAILURE)
    if parsed.options.version:
        library = TensorFlow(wheel.directory())
        print(f"TensorFlow ModelServer: {SERVING_VERSION}\nTensorFlow Library: {library.version}")
        _exit(0)
    if parsed.unknown:
        print(f"unknown argument: {parsed.unknown[0]}\n{flags.usage(program)}", end="", flush=True)
    set_up_logging()
    allow_files()
    for sentence in flags.ignored(parsed.options):
        _log.warning("%s", sentence)
    _exit(_serve(parsed.options))


def allow_files() -> None:
    """Raise the limit of open files to the hard one: many container runtimes give 1024, as many as REST may have connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Stop:
    """Waits for the signal to end. While models are loading it ends the process at once, and so does a second one.

    The signals are blocked in all threads and fetched by one of its own: a Python signal handler would run inside whatever
    the main thread is doing, a lock it holds included.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._serving = False

    def install(self) -> None:
        """Listen to SIGTERM and SIGINT. Threads that exist already must block them (see `__main__`)."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        threading.Thread(target=self._listen, name="signals", daemon=True).start()

    def wait(self) -> None:
        """From now on a signal means shutdown; block until one comes."""
        self._serving = True
        self._event.wait()

    def _listen(self) -> None:
        while True:
            number = signal.sigwait(_SIGNALS)
            if not self._serving:
                _exit(0)
            if self._event.is_set():
                _exit(128 + number)
            self._event.set()


def shutdown_seconds(environment: Mapping[str, str]) -> float:
    """The grace period of the shutdown, from the environment where it has a sensible number."""
    try:
        value = float(environment.get(SHUTDOWN_VARIABLE, SHUTDOWN_SECONDS))
    except ValueError:
        value = SHUTDOWN_SECONDS
    return value if 0 <= value <= _MAX_SHUTDOWN_SECONDS else SHUTDOWN_SECONDS


def _serve(options: Options) -> int:
    stop = Stop()
    stop.install()
    try:
        running = _start(options)
    except ServingError as error:
        if isinstance(error, TextError):
            print(error.detail, file=sys.stderr, flush=True)
        print(f"Failed to start server. Error: {error}", flush=True)
        return _FAILURE
    except Exception as error:  # noqa: BLE001 - whatever it was, it is the reason that the platform shows
        _log.exception("the start failed unexpectedly")
        print(f"Failed to start server. Error: INTERNAL: {type(error).__name__}: {error}", flush=True)
        return _FAILURE
    stop.wait()
    return _shut_down(running, shutdown_seconds(os.environ))


@dataclass(frozen=True, slots=True)
class _Running:
    manager: Manager
    grpc: GrpcServer
    rest: RestServer | None


def _start(options: Options) -> _Running:
    """Load the models, then open the gRPC port, then the REST port; ServingError if any of it fails."""
    from_flags.check(options)
    models = from_flags.models(options)
    settings = platform_file.loader_settings(options)
    platform_file.check_thread_pools(options)
    metrics = Metrics()
    predictor = Predictor(
        metrics,
        check_method_name=options.enable_signature_method_name_check,
        as_tensor_content=options.enable_serialization_as_tensor_content,
    )
    inference = Inference(metrics, check_method_name=options.enable_signature_method_name_check)
    library = _tensorflow(options)
    loader = Loader(library, settings, Replayer(predictor, inference), metrics)
    policy = LoadPolicy(
        max_retries=max(options.max_num_load_retries, 0),
        retry_interval_seconds=options.load_retry_interval_micros / 1e6,
        poll_seconds=options.file_system_poll_wait_seconds,
    )
    manager = Manager(
        loader,
        policy,
        allow_early_labels=options.allow_version_labels_for_unavailable_models,
        load_threads=options.num_load_threads,
    )
    reloader = Reloader(manager, metrics)
    reloader.start(models)
    if options.model_config_file and options.model_config_file_poll_wait_seconds > 0:
        reloader.poll_file(options.model_config_file, options.model_config_file_poll_wait_seconds)
    service = Service(manager, predictor, inference, metrics, reloader)
    grpc = GrpcServer(service, options, Profiler(library) if options.enable_profiler else None)
    grpc.start()
    if options.port:
        _log.info("Running gRPC ModelServer at 0.0.0.0:%d ...", options.port)
    return _Running(manager, grpc, _start_rest(service, options))


def _start_rest(service: Service, options: Options) -> RestServer | None:
    if not options.rest_api_port:
        return None
    if options.rest_api_port == options.port:
        _log.error(
            "server_options.http_port cannot be same as grpc_port. Please use a different port for HTTP/REST API. "
            "Skipped exporting HTTP/REST API."
        )
        return None
    metrics_path = from_flags.monitoring_path(options)
    api = RestApi(service, options.rest_api_timeout_in_ms, cors=options.rest_api_enable_cors_support)
    workers = max(options.rest_api_num_threads, MINIMUM_WORKERS)
    try:
        server = RestServer(options.rest_api_port, api, service.metrics, metrics_path, workers)
    except OSError as error:
        _log.error("Failed to start HTTP Server at localhost:%d: %s", options.rest_api_port, error)
        return None
    server.start()
    _log.info("Exporting HTTP/REST API at:localhost:%d ...", options.rest_api_port)
    return server


def _shut_down(running: _Running, grace_seconds: float) -> int:
    """Health first, then no new work, then wait for what runs."""
    _log.info("Shutting down: running requests have %g s", grace_seconds)
    deadline = time.monotonic() + grace_seconds
    running.manager.stop()
    running.grpc.not_serving()
    stopped = running.grpc.stop(grace_seconds)
    finished = running.rest.stop(deadline) if running.rest else True
    finished = stopped.wait(max(deadline - time.monotonic(), 0) + _CANCEL_SECONDS) and finished
    if time.monotonic() > deadline:
        finished = False
    _log.info("Shutdown complete" if finished else "Ending with requests unfinished: their time was up")
    return 0


def _tensorflow(options: Options) -> Callable[[], TensorFlow]:
    """The library, loaded at its first use and once."""
    lock = threading.Lock()

    @cache
    def load() -> TensorFlow:
        # The library's own chatter would bury the reason of a failed start.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
        library = TensorFlow(wheel.directory())
        wants_xla = options.xla_cpu_compilation_enabled or options.xla_gpu_compilation_enabled
        if not wants_xla and not library.disable_xla():
            _log.warning("XLA cannot be switched off in this TensorFlow library")
        op_libraries.load_all(library, os.environ)
        return library

    def guarded() -> TensorFlow:
        with lock:
            return load()

    return guarded


def _exit(code: int) -> None:
    """End now: TensorFlow's threads must not run into a dying interpreter, nor print after the last line."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
