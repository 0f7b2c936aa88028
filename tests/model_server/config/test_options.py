"""Flags that change how the server listens and answers, and the documentation of all of them."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from dev.kit.eventually import eventually
from model_server.config import flags
from model_server.config.options import Options
from model_server.protobuf import generated
from tests.model_server.harness import REPOSITORY, Server, array_of, predict_request, serving
from tests.model_server.test_start import ONCE, failed_start

X = {"x": [[2.0]]}


def test_a_unix_socket_is_served_too(models: Path, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with (
        serving(tmp_path / "log", f"--model_base_path={models / 'half'}", f"--grpc_socket_path={path}", *ONCE),
        grpc.insecure_channel(f"unix:{path}") as channel,
    ):
        stub = generated.prediction_service_pb2_grpc.PredictionServiceStub(channel)
        answer = stub.Predict(predict_request("default", X), timeout=20)
    assert array_of(answer.outputs["y"]).tolist() == [[3.0]]


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_messages_may_be_limited(models: Path, tmp_path: Path, compression: grpc.Compression) -> None:
    """The flag goes before the server's own limit, and counts what a compressed message becomes."""
    limit = "--grpc_channel_arguments=grpc.max_receive_message_length=100000"
    request = predict_request("default", {"x": np.zeros((50_000, 1), np.float32)})
    with serving(tmp_path / "log", f"--model_base_path={models / 'half'}", limit, *ONCE) as server:
        call = server.prediction.Predict.future(request, timeout=30, compression=compression)
        assert call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert array_of(server.predict("default", X).outputs["y"]).tolist() == [[3.0]]


def test_outputs_as_tensor_content(models: Path, tmp_path: Path) -> None:
    arguments = (f"--model_base_path={models / 'kitchen'}", *ONCE, "--enable_serialization_as_tensor_content")
    with serving(tmp_path / "log", *arguments) as server:
        number = server.predict("default", {"x": [2.0]}).outputs["y"]
        text = server.predict("default", {"s": np.array([b"ab"], dtype=object)}, "text").outputs["joined"]
    assert (number.tensor_content, list(number.float_val)) == (np.array([3.0], "<f4").tobytes(), [])
    assert array_of(text).tolist() == [b"abab"]


def test_per_model_batching_parameters(models: Path, tmp_path: Path) -> None:
    shutil.copytree(models / "half", tmp_path / "m")
    (tmp_path / "m" / "1" / "batching_params.pbtxt").write_text("max_batch_size { value: 2 }")
    flags_given = ("--enable_batching", "--enable_per_model_batching_parameters")
    with serving(tmp_path / "log", f"--model_base_path={tmp_path / 'm'}", *ONCE, *flags_given) as server:
        assert array_of(server.predict("default", X).outputs["y"]).tolist() == [[3.0]]
        with pytest.raises(grpc.RpcError) as caught:
            server.predict("default", {"x": np.zeros((3, 1), np.float32)})
    assert caught.value.details() == "Task size 3 is larger than maximum input batch size 2"


def certificate(directory: Path, name: str) -> tuple[str, str]:
    """A self-signed certificate for localhost: key and certificate as PEM."""
    key, cert = directory / f"{name}.key", directory / f"{name}.crt"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
               "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
               "-keyout", str(key), "-out", str(cert)]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return key.read_text(), cert.read_text()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make certificates")
def test_tls_with_client_certificates(models: Path, tmp_path: Path) -> None:
    key, cert = certificate(tmp_path, "server")
    client_key, client_cert = certificate(tmp_path, "client")
    escaped = [text.replace("\n", "\\n") for text in (key, cert, client_cert)]
    config = tmp_path / "ssl.pbtxt"
    config.write_text('server_key: "{}"\nserver_cert: "{}"\ncustom_ca: "{}"\nclient_verify: true\n'.format(*escaped))
    arguments = (f"--model_base_path={models / 'half'}", f"--ssl_config_file={config}", *ONCE)
    with serving(tmp_path / "log", *arguments) as server:

        def predict(credentials: grpc.ChannelCredentials) -> Any:
            with grpc.secure_channel(f"localhost:{server.port}", credentials) as channel:
                stub = generated.prediction_service_pb2_grpc.PredictionServiceStub(channel)
                return stub.Predict(predict_request("default", X), timeout=10)

        trusted = grpc.ssl_channel_credentials(cert.encode(), client_key.encode(), client_cert.encode())
        assert array_of(predict(trusted).outputs["y"]).tolist() == [[3.0]]
        with pytest.raises(grpc.RpcError) as caught:
            predict(grpc.ssl_channel_credentials(cert.encode()))
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make certificates")
@pytest.mark.parametrize("more", ["", "client_verify: false", 'client_verify: false custom_ca: "{}"'])
def test_tls_without_client_certificates_on_port_and_socket(models: Path, tmp_path: Path, more: str) -> None:
    key, cert = certificate(tmp_path, "server")
    escaped = [text.replace("\n", "\\n") for text in (key, cert)]
    config, path = tmp_path / "ssl.pbtxt", tmp_path / "socket"
    config.write_text('server_key: "{}"\nserver_cert: "{}"\n'.format(*escaped) + more.replace("{}", escaped[1]))
    arguments = (
        f"--model_base_path={models / 'half'}",
        f"--ssl_config_file={config}",
        f"--grpc_socket_path={path}",
        *ONCE,
    )
    with serving(tmp_path / "log", *arguments) as server:
        named = (("grpc.ssl_target_name_override", "localhost"),)
        for target in (f"localhost:{server.port}", f"unix:{path}"):
            credentials = grpc.ssl_channel_credentials(cert.encode())
            with grpc.secure_channel(target, credentials, named) as channel:
                stub = generated.prediction_service_pb2_grpc.PredictionServiceStub(channel)
                assert array_of(stub.Predict(predict_request("default", X), timeout=10).outputs["y"]).tolist() == [
                    [3.0]
                ]
        with grpc.insecure_channel(f"localhost:{server.port}") as channel, pytest.raises(grpc.RpcError) as caught:
            generated.prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(
                predict_request("default", X), timeout=5
            )
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        # REST stays in plain text, as in the C++ server.
        assert server.post("/v1/models/default:predict", {"instances": [[2.0]]}).json == {"predictions": [[3.0]]}


def test_alts_is_refused_and_not_replaced_by_plain_text(models: Path) -> None:
    line = failed_start(f"--model_base_path={models / 'half'}", "--use_alts_credentials", *ONCE)
    assert line == "UNIMPLEMENTED: ALTS credentials are not supported by this server; use ssl_config_file."


def test_channel_arguments_of_every_form(models: Path, tmp_path: Path) -> None:
    given = "grpc.keepalive_time_ms=20000,grpc.primary_user_agent=me,,odd,=,a=b=c,grpc.max_concurrent_streams=x"
    arguments = (f"--model_base_path={models / 'half'}", f"--grpc_channel_arguments={given}", *ONCE)
    with serving(tmp_path / "log", *arguments) as server:
        assert array_of(server.predict("default", X).outputs["y"]).tolist() == [[3.0]]
        assert "grpc_channel_arguments: 'odd' has no '='" in server.output()


def test_the_same_port_twice_leaves_rest_out(models: Path, tmp_path: Path) -> None:
    server = Server(tmp_path / "log", f"--model_base_path={models / 'half'}", *ONCE, same_port=True)
    try:
        eventually(lambda: "Running gRPC ModelServer at 0.0.0.0:" in server.output())
        assert array_of(server.predict("default", X).outputs["y"]).tolist() == [[3.0]]
        assert "server_options.http_port cannot be same as grpc_port." in server.output()
    finally:
        server.stop()


def test_keys_that_are_none_fail_the_start(models: Path, tmp_path: Path) -> None:
    (tmp_path / "ssl.pbtxt").write_text('server_key: "no key" server_cert: "no certificate"')
    line = failed_start(f"--model_base_path={models / 'half'}", f"--ssl_config_file={tmp_path / 'ssl.pbtxt'}", *ONCE)
    assert line == "INVALID_ARGUMENT: Failed to BuildAndStart gRPC server"


def test_a_bad_tls_file_fails_the_start(models: Path, tmp_path: Path) -> None:
    (tmp_path / "ssl.pbtxt").write_text("server_key: 3")
    line = failed_start(f"--model_base_path={models / 'half'}", f"--ssl_config_file={tmp_path / 'ssl.pbtxt'}", *ONCE)
    assert line == f"INVALID_ARGUMENT: Invalid protobuf file: '{tmp_path / 'ssl.pbtxt'}'"


def test_a_bad_monitoring_file_fails_the_start(models: Path, tmp_path: Path) -> None:
    file = tmp_path / "monitoring.pbtxt"
    file.write_text("prometheus { }")
    arguments = (f"--model_base_path={models / 'half'}", "--rest_api_port=2", f"--monitoring_config_file={file}", *ONCE)
    assert failed_start(*arguments) == f"INVALID_ARGUMENT: Invalid protobuf file: '{file}'"


def test_the_documentation_has_every_flag_with_its_default_and_effect() -> None:
    rows = {
        cells[0].strip("`"): cells[1:]
        for line in (REPOSITORY / "docs" / "model-server.md").read_text().splitlines()
        if line.startswith("| `") and len(cells := [cell.strip() for cell in line.strip("|").split("|")]) == 4
    }
    assert set(rows) == set(flags.HELP)
    defaults = Options()
    for name, (_, default, effect) in rows.items():
        value = getattr(defaults, name)
        if "CPUs" not in default and isinstance(value, bool | str):
            assert default == (str(value).lower() if isinstance(value, bool) else f'"{value}"')
        assert effect.startswith("none: ") == (name in flags.WITHOUT_EFFECT)
