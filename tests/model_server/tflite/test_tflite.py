"""TFLite models: signatures from the file or made up, strings, resizing, refusals, damaged files."""

import random
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest

from tests.model_server.harness import Server, array_of, config_file, serving
from tests.model_server.test_start import ONCE, failed_start

PREFER = "--prefer_tflite_model=true"
NAMES = ("lite", "lite_plain", "lite_text", "lite_pair", "half")


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("lite")
    arguments = (config_file(directory, models, NAMES), PREFER, "--num_tflite_pools=2", *ONCE)
    with serving(directory / "log", *arguments) as running:
        yield running


@pytest.fixture(autouse=True)
def still_serving(server: Server) -> Iterator[None]:
    yield
    assert array_of(server.predict("lite", {"x": [[2.0]]}).outputs["y"]).tolist() == [[3.0]]


def floats(*rows: float) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 1)


@pytest.mark.parametrize("signature", ["", "other"])
def test_signatures_come_from_the_file(server: Server, signature: str) -> None:
    response = server.predict("lite", {"x": [[2.0]]}, signature)
    assert array_of(response.outputs["y"]).tolist() == [[3.0]]
    assert (response.model_spec.version.value, response.model_spec.signature_name) == (
        1,
        signature or "serving_default",
    )
    signatures = server.http("GET", "/v1/models/lite/metadata").json["metadata"]["signature_def"]["signature_def"]
    assert set(signatures) == {"serving_default", "other"}
    assert signatures["other"]["inputs"]["x"]["dtype"] == "DT_FLOAT"


def test_inputs_are_resized_to_and_fro(server: Server) -> None:
    for rows in ([2.0], [1.0, 2.0, 3.0], [4.0], list(range(500))):
        found = array_of(server.predict("lite", {"x": floats(*rows)}).outputs["y"])
        np.testing.assert_allclose(found, floats(*rows) / 2 + 2)


def test_rest(server: Server) -> None:
    assert server.post("/v1/models/lite:predict", {"instances": [[2.0], [4.0]]}).json == {"predictions": [[3.0], [4.0]]}


def test_without_signatures_one_is_made_of_the_tensors(server: Server) -> None:
    signature = server.http("GET", "/v1/models/lite_plain/metadata").json["metadata"]["signature_def"]["signature_def"]
    made = signature["serving_default"]
    ((alias, info),) = made["inputs"].items()
    assert info["name"].partition(":")[0] == alias
    assert [dim["size"] for dim in info["tensor_shape"]["dim"]] == ["-1", "1"]
    ((output, _),) = made["outputs"].items()
    assert array_of(server.predict("lite_plain", {alias: [[2.0]]}).outputs[output]).tolist() == [[3.0]]


def test_strings(server: Server) -> None:
    inputs = server.http("GET", "/v1/models/lite_text/metadata").json["metadata"]["signature_def"]["signature_def"]
    (alias,) = inputs["serving_default"]["inputs"]
    for texts in ([b"a"], [b"", b"\xff\x00", "é".encode()], [b"x" * 1000]):
        outputs = server.predict("lite_text", {alias: np.array(texts, dtype=object)}).outputs
        ((_, value),) = outputs.items()
        assert array_of(value).tolist() == texts


def test_several_inputs_and_outputs(server: Server) -> None:
    metadata = server.http("GET", "/v1/models/lite_pair/metadata").json["metadata"]["signature_def"]["signature_def"]
    inputs = {info["dtype"]: alias for alias, info in metadata["serving_default"]["inputs"].items()}
    values = {inputs["DT_FLOAT"]: np.array([1.5, 2.5], np.float32), inputs["DT_INT32"]: np.array([1, 2], np.int32)}
    outputs = sorted(
        (array_of(v).dtype.name, array_of(v).tolist()) for v in server.predict("lite_pair", values).outputs.values()
    )
    assert outputs == [("float32", [2.5, 4.5]), ("int32", [2, 3])]
    # Shapes that do not go together are TFLite's error, and the interpreter works on.
    with pytest.raises(grpc.RpcError) as caught:
        server.predict(
            "lite_pair", {inputs["DT_FLOAT"]: np.ones(2, np.float32), inputs["DT_INT32"]: np.ones(3, np.int32)}
        )
    assert caught.value.code() == grpc.StatusCode.INTERNAL
    assert server.predict("lite_pair", values).model_spec.version.value == 1


def test_refusals(server: Server) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        server.predict("lite", {"x": np.array([[1.0]], np.float64)})
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details().endswith("to be float but double is provided")
    with pytest.raises(grpc.RpcError) as caught:
        server.predict("lite", {"z": [[1.0]]})
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.RpcError) as caught:
        server.predict("lite", {"x": [[2.0]]}, "none")
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize("shape", [(), (0, 1), (1,), (2, 3), (1, 1, 1), (0,)])
def test_odd_shapes_are_answered(server: Server, shape: tuple[int, ...]) -> None:
    call = server.prediction.Predict.future(
        __import__("tests.model_server.harness", fromlist=["x"]).predict_request(
            "lite", {"x": np.ones(shape, np.float32)}
        ),
        timeout=30,
    )
    assert call.code() in {grpc.StatusCode.OK, grpc.StatusCode.INTERNAL, grpc.StatusCode.INVALID_ARGUMENT}


def test_requests_at_the_same_time_do_not_mix(server: Server) -> None:
    def predict(number: int) -> bool:
        rows = floats(*range(number, number + 1 + number % 5))
        return np.array_equal(array_of(server.predict("lite", {"x": rows}).outputs["y"]), rows / 2 + 2)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(predict, range(200)))


def test_a_saved_model_beside_it_is_served_where_tflite_is_not_preferred(models: Path, tmp_path: Path) -> None:
    shutil.copytree(models / "half", tmp_path / "m")
    shutil.copy(models / "lite" / "1" / "model.tflite", tmp_path / "m" / "1")
    arguments = (f"--model_base_path={tmp_path / 'm'}", *ONCE)
    for more, names in (((), {"serving_default"}), ((PREFER,), {"serving_default", "other"})):
        with serving(tmp_path / "log", *arguments, *more) as server:
            metadata = server.http("GET", "/v1/models/default/metadata").json["metadata"]
            assert set(metadata["signature_def"]["signature_def"]) == names


def test_batching(models: Path, tmp_path: Path) -> None:
    arguments = (f"--model_base_path={models / 'lite'}", PREFER, "--enable_batching", *ONCE)
    with serving(tmp_path / "log", *arguments) as server:
        assert array_of(server.predict("default", {"x": floats(2, 4)}).outputs["y"]).tolist() == [[3.0], [4.0]]


def lite_start(directory: Path, content: bytes) -> str:
    (directory / "m" / "1").mkdir(parents=True, exist_ok=True)
    (directory / "m" / "1" / "model.tflite").write_bytes(content)
    return failed_start(f"--model_base_path={directory / 'm'}", "--model_name=m", PREFER, *ONCE)


def test_files_that_are_no_models_fail_the_load(models: Path, tmp_path: Path) -> None:
    whole = (models / "lite" / "1" / "model.tflite").read_bytes()
    assert "due to error: INVALID_ARGUMENT: Cannot build FlatBufferModel from buffer." in lite_start(tmp_path, b"")
    assert "Cannot build FlatBufferModel from buffer." in lite_start(tmp_path, b"no model at all, but text")
    unknown = (models / "lite_unknown" / "1" / "model.tflite").read_bytes()
    assert "INTERNAL: Signature input x references an unknown tensor: Unknown tensor 'nobody:0'." in lite_start(
        tmp_path, unknown
    )
    spoiled = whole.replace(b"\x1a\x1atensorflow/serving/predict", b"\xff\xfftensorflow/serving/predict")
    assert spoiled != whole
    assert "INVALID_ARGUMENT: Invalid SignatureDefs found in TfLite model: " in lite_start(tmp_path, spoiled)


def test_damaged_files_never_take_the_server_along(models: Path, tmp_path: Path) -> None:
    """Broken versions beside a good one: each ends with an error, and the good one is served throughout."""
    whole = (models / "lite" / "1" / "model.tflite").read_bytes()
    chance = random.Random(7)
    (tmp_path / "m" / "1").mkdir(parents=True)
    (tmp_path / "m" / "1" / "model.tflite").write_bytes(whole)
    for version in range(2, 14):
        damaged = bytearray(whole[: chance.randrange(len(whole))] if version % 3 == 0 else whole)
        for _ in range(40 if version % 3 else 0):
            damaged[chance.randrange(8, len(damaged))] = chance.randrange(256)
        (tmp_path / "m" / str(version)).mkdir()
        (tmp_path / "m" / str(version) / "model.tflite").write_bytes(damaged)
    (tmp_path / "models.pbtxt").write_text(
        f'model_config_list {{ config {{ name: "m" base_path: "{tmp_path / "m"}" model_platform: "tensorflow" '
        "model_version_policy { all {} } } }"
    )
    arguments = (f"--model_config_file={tmp_path / 'models.pbtxt'}", PREFER, *ONCE)
    with serving(tmp_path / "log", *arguments) as server:
        answer = server.predict("m", {"x": [[2.0]]}, version=1)
        assert array_of(answer.outputs["y"]).tolist() == [[3.0]]
        statuses = server.http("GET", "/v1/models/m").json["model_version_status"]
        assert len(statuses) == 13
        for status in statuses:
            assert (status["state"] == "AVAILABLE") == (status["status"]["error_code"] == "OK")
        assert sum(status["state"] == "END" for status in statuses) >= 4
        assert "Traceback" not in server.output()
