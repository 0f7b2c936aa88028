"""A server process, and the two ways to speak to it: gRPC stubs and plain HTTP."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from dev.kit.reserved_ports import free_port
from model_server.protobuf import generated
from model_server.tensors import host_tensor

REPOSITORY = Path(__file__).resolve().parents[2]
START_SECONDS = 90


def config_file(directory: Path, models: Path, names: Sequence[str]) -> str:
    """Write a config file for these models, and return the flag that names it."""
    file = directory / "models.pbtxt"
    entries = [f'config {{ name: "{n}" base_path: "{models / n}" model_platform: "tensorflow" }}' for n in names]
    file.write_text(f"model_config_list {{ {' '.join(entries)} }}")
    return f"--model_config_file={file}"


def port_open(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def environment(**extra: str) -> dict[str, str]:
    """What a pod gives the server: no HOME, nothing of the caller's."""
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY / "images" / "model-server"), **extra}


def run(*arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    """A server that is expected to end by itself."""
    command = [sys.executable, "-m", "model_server", *arguments]
    return subprocess.run(
        command, env=environment(**extra), capture_output=True, text=True, timeout=120, cwd="/", check=False
    )


class Server:
    """A running server process on loopback. Its output goes to a file."""

    def __init__(
        self, log: Path, *arguments: str, user: int | None = None, same_port: bool = False, **extra: str
    ) -> None:
        self.port = free_port()
        self.rest_port = self.port if same_port else free_port()
        self.log = log
        command = [sys.executable, "-m", "model_server", f"--port={self.port}", f"--rest_api_port={self.rest_port}"]
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [*command, *arguments],
                env=environment(**extra),
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                user=user,
                group=user,
                extra_groups=[] if user else None,
            )
        self._channel: Any = None

    def wait_ready(self) -> "Server":
        deadline = time.monotonic() + START_SECONDS
        while not port_open(self.rest_port):
            assert self.process.poll() is None, f"the server ended: {self.output()}"
            assert time.monotonic() < deadline, f"the server did not start: {self.output()}"
            time.sleep(0.05)
        return self

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def said(self, words: str) -> bool:
        return words in self.output()

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def stop(self) -> int:
        if self._channel is not None:
            self._channel.close()
        if self.process.poll() is None:
            self.terminate()
        try:
            return self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    @property
    def channel(self) -> Any:
        if self._channel is None:
            unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
            self._channel = grpc.insecure_channel(f"127.0.0.1:{self.port}", options=unlimited)
        return self._channel

    @property
    def prediction(self) -> Any:
        return generated.prediction_service_pb2_grpc.PredictionServiceStub(self.channel)

    @property
    def models(self) -> Any:
        return generated.model_service_pb2_grpc.ModelServiceStub(self.channel)

    def predict(self, model: str, inputs: dict[str, Any], signature: str = "", timeout: float = 30, **spec: Any) -> Any:
        return self.prediction.Predict(predict_request(model, inputs, signature, **spec), timeout=timeout)

    def http(
        self, method: str, path: str, body: bytes | str | None = None, headers: dict[str, str] | None = None
    ) -> "Answer":
        connection = http.client.HTTPConnection("127.0.0.1", self.rest_port, timeout=60)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def post(self, path: str, document: Any) -> "Answer":
        return self.http("POST", path, document if isinstance(document, str | bytes) else json.dumps(document))

    def metrics(self) -> str:
        answer = self.http("GET", "/monitoring/prometheus/metrics")
        assert answer.status == 200
        return answer.body.decode()


class Answer:
    """An HTTP response, read whole."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        words: str = self.json["error"]
        return words


def predict_request(model: str, inputs: dict[str, Any], signature: str = "", **spec: Any) -> Any:
    request = generated.predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    if "version" in spec:
        request.model_spec.version.value = spec["version"]
    if "label" in spec:
        request.model_spec.version_label = spec["label"]
    request.output_filter.extend(spec.get("output_filter", ()))
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(
            value if hasattr(value, "dtype") and hasattr(value, "tensor_shape") else proto(value)
        )
    return request


def proto(value: Any) -> Any:
    """A TensorProto of a float, integer, bool or string array, built without the server's code."""
    array = np.asarray(value)
    if array.dtype == np.float64 and not isinstance(value, np.ndarray):
        array = array.astype(np.float32)
    message = generated.tensor_pb2.TensorProto()
    for size in array.shape:
        message.tensor_shape.dim.add(size=size)
    if array.dtype.kind in "SUO":
        message.dtype = 7
        message.string_val.extend(v if isinstance(v, bytes) else str(v).encode() for v in array.ravel().tolist())
        return message
    number, field = {"float32": (1, "float_val"), "float64": (2, "double_val"), "int32": (3, "int_val"),
                     "int64": (9, "int64_val"), "bool": (10, "bool_val")}[array.dtype.name]  # fmt: skip
    message.dtype = number
    getattr(message, field).extend(array.ravel().tolist())
    return message


def array_of(message: Any) -> np.ndarray[Any, Any]:
    """The array in a TensorProto of a response."""
    return host_tensor.from_proto(message).array


@contextlib.contextmanager
def serving(log: Path, *arguments: str, user: int | None = None, **extra: str) -> Iterator[Server]:
    server = Server(log, *arguments, user=user, same_port=False, **extra)
    try:
        yield server.wait_ready()
    finally:
        server.stop()
