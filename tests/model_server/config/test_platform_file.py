"""How models are loaded: the platform config file, precision, and operations from other libraries."""

import importlib.util
import os
from pathlib import Path

import grpc
import numpy as np
import pytest

from tests.model_server.harness import REPOSITORY, array_of, run, serving
from tests.model_server.test_start import ONCE, failed_start

LIBRARY = "lite/experimental/microfrontend/python/ops/_audio_microfrontend_op.so"
PLATFORM = """platform_configs {{ key: "tensorflow" value {{ source_adapter_config {{
  [type.googleapis.com/tensorflow.serving.SavedModelBundleSourceAdapterConfig] {{ legacy_config {{ {} }} }} }} }} }}"""


def wheel() -> Path:
    spec = importlib.util.find_spec("tensorflow")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def platform_file(directory: Path, text: str) -> str:
    (directory / "platform.pbtxt").write_text(PLATFORM.format(text))
    return f"--platform_config_file={directory / 'platform.pbtxt'}"


def test_the_platform_file_replaces_the_flags(models: Path, tmp_path: Path) -> None:
    settings = "batching_parameters { max_batch_size { value: 2 } } session_config { intra_op_parallelism_threads: 1 }"
    # Nothing about warm-up in the file means none: the bad record of this model is not replayed.
    arguments = (f"--model_base_path={models / 'warm_bad'}", "--enable_batching=false", *ONCE)
    with serving(tmp_path / "log", *arguments, platform_file(tmp_path, settings)) as server:
        assert array_of(server.predict("default", {"x": [[2.0]]}).outputs["y"]).tolist() == [[3.0]]
        with pytest.raises(grpc.RpcError) as caught:
            server.predict("default", {"x": np.zeros((3, 1), np.float32)})
    assert caught.value.details() == "Task size 3 is larger than maximum input batch size 2"


def test_warm_up_by_the_platform_file(models: Path, tmp_path: Path) -> None:
    line = failed_start(
        f"--model_base_path={models / 'warm_bad'}", *ONCE, platform_file(tmp_path, "enable_model_warmup: true")
    )
    assert "due to error: INVALID_ARGUMENT: Expects arg[0] to be float but string is provided" in line


def test_tags_and_tflite_by_the_platform_file(models: Path, tmp_path: Path) -> None:
    line = failed_start(
        f"--model_base_path={models / 'half'}", *ONCE, platform_file(tmp_path, 'saved_model_tags: "gpu"')
    )
    assert "Could not find meta graph def matching supplied tags: { gpu }" in line
    lite = platform_file(tmp_path, "prefer_tflite_model: true num_tflite_pools: 2")
    with serving(tmp_path / "log", f"--model_base_path={models / 'lite'}", *ONCE, lite) as server:
        assert array_of(server.predict("default", {"x": [[2.0]]}).outputs["y"]).tolist() == [[3.0]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "FAILED_PRECONDITION: PlatformConfigMap has no entry for platform tensorflow"),
        ("platform {", "INVALID_ARGUMENT: Invalid protobuf file: '"),
        ('platform_configs { key: "tensorflow" value { source_adapter_config { type_url: "x/y.Z" } } }',
         "INVALID_ARGUMENT: Couldn't find factory for config proto message type y.Z"),
        (PLATFORM.format("batching_parameters { max_batch_size { value: -1 } }"),
         "INVALID_ARGUMENT: max_batch_size must be positive; was -1"),
    ],
)  # fmt: skip
def test_bad_platform_files(models: Path, tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "p").write_text(text)
    assert failed_start(
        f"--model_base_path={models / 'half'}", *ONCE, f"--platform_config_file={tmp_path / 'p'}"
    ).startswith(words)


def test_there_is_no_thread_pool_factory(models: Path, tmp_path: Path) -> None:
    (tmp_path / "t").write_text('thread_pool_factory_config { type_url: "type.googleapis.com/some.Factory" }')
    line = failed_start(
        f"--model_base_path={models / 'half'}", *ONCE, f"--thread_pool_factory_config_file={tmp_path / 't'}"
    )
    assert line == "INTERNAL: Unable to find compiled-in proto descriptor of type some.Factory"


def test_mixed_precision(models: Path, tmp_path: Path) -> None:
    arguments = (f"--model_base_path={models / 'digits'}", *ONCE)
    expected = np.load(models / "digits_expected.npy")
    for mode, words in (("bfloat16", "Running inference with bfloat16 auto mixed precision"),
                        ("int4", "int4 auto mixed precision is not supported. Valid option: bfloat16")):  # fmt: skip
        with serving(tmp_path / "log", *arguments, f"--mixed_precision={mode}") as server:
            ((_, value),) = server.predict("default", {"image": np.ones((2, 8, 8, 1), np.float32)}).outputs.items()
            np.testing.assert_allclose(array_of(value), expected, atol=0.02)
            assert words in server.output()


def test_operations_of_another_library(models: Path, tmp_path: Path) -> None:
    arguments = (f"--model_base_path={models / 'audio'}", *ONCE)
    assert "Op type not registered 'AudioMicrofrontend'" in failed_start(*arguments)
    with serving(tmp_path / "log", *arguments, MODEL_SERVER_OP_LIBRARIES=str(wheel() / LIBRARY)) as server:
        message = {"instances": list(range(1000))}
        frames = server.post("/v1/models/default:predict", message).json["predictions"]
        assert len(frames) == 4
        assert "Loaded operations from " in server.output()


def test_a_library_that_is_none_is_named(models: Path, tmp_path: Path) -> None:
    (tmp_path / "lib.so").write_text("no library")
    done = run(
        "--port=1", f"--model_base_path={models / 'half'}", *ONCE, MODEL_SERVER_OP_LIBRARIES=str(tmp_path / "lib.so")
    )
    assert done.returncode == 255
    assert f"Could not load the operations in {tmp_path / 'lib.so'}: " in done.stdout


@pytest.mark.skipif(importlib.util.find_spec("tensorflow_text") is None, reason="needs tensorflow-text")
def test_tensorflow_text(models: Path, tmp_path: Path) -> None:
    spec = importlib.util.find_spec("tensorflow_text")
    assert spec is not None
    assert spec.origin is not None
    paths = [str(REPOSITORY / "images" / "model-server"), str(Path(spec.origin).parents[1])]
    arguments = (f"--model_base_path={models / 'text'}", *ONCE)
    with serving(tmp_path / "log", *arguments, PYTHONPATH=os.pathsep.join(paths)) as server:
        answer = server.post("/v1/models/default:predict", {"instances": ["Hello World", "ÄB"]})
        assert answer.json == {"predictions": [["hello", "world"], ["äb", ""]]}
