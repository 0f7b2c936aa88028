"""Malformed requests of every kind: a typed answer each time, and the next good request is answered."""

import contextlib
import http.client
import json
import re
import socket
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_server.protobuf import generated
from tests.model_server.harness import Server, array_of
from tests.model_server.inference.test_examples import CLASSIFY, REGRESS, classification, example, inference, regression

FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
_UNTYPED = {grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL}
TYPED = set(grpc.StatusCode) - _UNTYPED

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["x", "b64", "a", "b"]), inner, max_size=3)
    ),
    max_leaves=12,
)
signature_names = st.sampled_from(["", "serving_default", "pair", "text", "total", "matrix", "identity_int8", "none"])
tensor_messages = st.builds(
    lambda dtype, dims, floats, ints, strings, content: generated.tensor_pb2.TensorProto(
        dtype=dtype,
        tensor_shape={"dim": [{"size": size} for size in dims]},
        float_val=floats,
        int_val=ints,
        string_val=strings,
        tensor_content=content,
    ),
    st.integers(0, 30),
    st.lists(st.integers(-2, 4) | st.just(2**60), max_size=5),
    st.lists(st.floats(width=32), max_size=4),
    st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4),
    st.lists(st.binary(max_size=30), max_size=3),
    st.binary(max_size=40),
)


@pytest.fixture(autouse=True)
def still_serving(server: Server) -> Iterator[None]:
    yield
    assert array_of(server.predict("half", {"x": np.array([[2.0]], np.float32)}).outputs["y"]).tolist() == [[3.0]]
    assert server.post("/v1/models/half:predict", {"instances": [[2.0]]}).json == {"predictions": [[3.0]]}
    assert server.process.poll() is None
    assert "Traceback" not in server.output()


@FEW
@given(signature_names, st.dictionaries(st.sampled_from(["x", "a", "b", "s", "q"]), tensor_messages, max_size=3))
def test_grpc_tensors(server: Server, signature: str, inputs: dict[str, Any]) -> None:
    request = generated.predict_pb2.PredictRequest()
    request.model_spec.name = "kitchen"
    request.model_spec.signature_name = signature
    for name, message in inputs.items():
        request.inputs[name].CopyFrom(message)
    call = server.prediction.Predict.future(request, timeout=30)
    assert call.code() in TYPED
    assert call.code() == grpc.StatusCode.OK or call.details()


@FEW
@given(
    st.sampled_from(
        [
            f"PredictionService/{name}"
            for name in ("Predict", "Classify", "Regress", "MultiInference", "GetModelMetadata")
        ]
        + ["ModelService/GetModelStatus"]
    ),
    st.binary(max_size=200),
)
def test_grpc_bytes(server: Server, method: str, payload: bytes) -> None:
    call = server.channel.unary_unary(f"/tensorflow.serving.{method}")
    with contextlib.suppress(grpc.RpcError):
        call(payload, timeout=30)


@FEW
@given(
    st.sampled_from(["Classify", "Regress", "MultiInference"]), st.integers(0, 300), st.integers(0, 255), st.booleans()
)
def test_damaged_examples(server: Server, method: str, position: int, byte: int, cut: bool) -> None:  # noqa: FBT001 - drawn
    request = {
        "Classify": lambda: classification([2.0, 3.0]),
        "Regress": lambda: regression([2.0, 3.0], context=example(bias=1.0)),
        "MultiInference": lambda: inference(("", REGRESS), ("classify", CLASSIFY)),
    }[method]()
    payload = bytearray(request.SerializeToString())
    at = position % len(payload)
    payload[at] = byte
    call = server.channel.unary_unary(f"/tensorflow.serving.PredictionService/{method}")
    with contextlib.suppress(grpc.RpcError):
        call(bytes(payload[:at] if cut else payload), timeout=30)


@FEW
@given(signature_names, json_values, st.sampled_from(["instances", "inputs", "both", "other"]))
def test_rest_documents(server: Server, signature: str, value: object, form: str) -> None:
    keys = ["instances", "inputs"] if form == "both" else [form]
    document = {"signature_name": signature, **dict.fromkeys(keys, value)}
    answer = server.post("/v1/models/kitchen:predict", json.dumps(document))
    assert answer.status in (200, 400, 501)
    text = answer.body.decode("utf-8", "surrogateescape")
    assert set(json.loads(text)) <= {"predictions", "outputs", "error"}


@FEW
@given(
    signature_names | st.sampled_from(["classify", "words"]),
    json_values,
    json_values,
    st.sampled_from(["classify", "regress"]),
)
def test_rest_examples(server: Server, signature: str, examples: object, context: object, method: str) -> None:
    for document in (
        {"signature_name": signature, "examples": examples},
        {"signature_name": signature, "examples": [{"x": examples}], "context": context},
        {"signature_name": signature, "examples": [{"x": 1.0, "words": examples, "counts": context}]},
    ):
        answer = server.post(f"/v1/models/examples:{method}", json.dumps(document))
        assert answer.status in (200, 400)
        assert set(json.loads(answer.body.decode("utf-8", "surrogateescape"))) <= {"results", "error"}


@pytest.mark.parametrize("value", ["[" * 100_000 + "]" * 100_000, "[" * 100_000, '{"a":' * 50_000 + "1" + "}" * 50_000,
                                   "9" * 100_000, "-" + "9" * 400, "1e99999", "0." + "0" * 100_000 + "1", '"' + "\\u0000" * 9 + '"',
                                   '{"b64": "' + "A" * 100_001 + '"}'])  # fmt: skip
@pytest.mark.parametrize("form", ["instances", "inputs", "examples", "context", "signature_name"])
def test_deep_and_huge_values(server: Server, form: str, value: str) -> None:
    method = "regress" if form in ("examples", "context") else "predict"
    more = ', "examples": [{}]' if form == "context" else ', "instances": [1]' if form == "signature_name" else ""
    model = "examples" if method == "regress" else "kitchen"
    answer = server.post(f"/v1/models/{model}:{method}", f'{{"{form}": {value}{more}}}')
    assert answer.status in (200, 400)
    assert answer.status == 200 or answer.error


@pytest.mark.parametrize("depth", [66, 70, 254, 970, 980, 1000, 1020])
@pytest.mark.parametrize("leaf", ["1", '"a"', '{"a": 1}'])
@pytest.mark.parametrize("form", ["instances", "inputs"])
def test_tensors_of_many_dimensions(server: Server, depth: int, leaf: str, form: str) -> None:
    """NumPy holds 64 dimensions, and Python's stack a thousand frames: neither is the client's to meet."""
    for signature in ("", "text", "identity_float16"):
        value = "[" * depth + leaf + "]" * depth
        document = f'{{"signature_name": "{signature}", "{form}": {value}}}'
        answer = server.post("/v1/models/kitchen:predict", document)
        assert answer.status == 400
        assert "dimensions; there may be 64" in answer.error or "nested too deeply" in answer.error


@FEW
@given(st.binary(max_size=200))
def test_rest_bytes(server: Server, body: bytes) -> None:
    answer = server.http("POST", "/v1/models/kitchen:predict", body)
    assert answer.status == 400
    assert b'"error"' in answer.body


@FEW
@given(
    st.sampled_from(["GET", "POST", "PUT", "OPTIONS", "DELETE"]),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30),
)
def test_rest_paths(server: Server, method: str, tail: str) -> None:
    try:
        answer = server.http(method, "/v1/models" + tail)
    except http.client.InvalidURL:
        return
    assert answer.status in (200, 400, 404, 501)


@FEW
@given(st.binary(min_size=1, max_size=300))
def test_http_bytes(server: Server, noise: bytes) -> None:
    received = b""
    connection = socket.create_connection(("127.0.0.1", server.rest_port), timeout=30)
    with connection, contextlib.suppress(OSError):
        connection.sendall(noise)
        connection.shutdown(socket.SHUT_WR)
        while chunk := connection.recv(65536):
            received += chunk
    assert not received or re.match(rb"HTTP/1\.[01] [2-5]\d\d |<", received)
