"""Warm-up records of every kind are replayed before a version is available; a bad one fails the load."""

import shutil
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from model_server.models.warmup import masked_crc
from model_server.protobuf import generated
from tests.model_server.harness import predict_request, serving
from tests.model_server.inference.test_examples import CLASSIFY, REGRESS, classification, inference, regression
from tests.model_server.test_start import ONCE, failed_start

REQUESTS = Path("assets.extra") / "tf_serving_warmup_requests"
LOG = generated.prediction_log_pb2.PredictionLog
X = predict_request("half", {"x": [[4.0]]})


def framed(record: bytes) -> bytes:
    """A TFRecord."""
    length = struct.pack("<Q", len(record))
    return length + struct.pack("<I", masked_crc(length)) + record + struct.pack("<I", masked_crc(record))


def copied(source: Path, target: Path, records: Sequence[bytes]) -> Path:
    """A copy of a model, with these warm-up records in version 1."""
    shutil.copytree(source, target)
    (target / "1" / REQUESTS).parent.mkdir(exist_ok=True)
    (target / "1" / REQUESTS).write_bytes(b"".join(map(framed, records)))
    return target


def test_records_are_replayed_and_counted(models: Path, monitoring: str, tmp_path: Path) -> None:
    arguments = (f"--model_base_path={models / 'warm'}", "--model_name=half", monitoring, *ONCE)
    with serving(tmp_path / "log", *arguments, "--num_request_iterations_for_warmup=3") as server:
        text = server.metrics()
    path = models / "warm" / "1"
    assert f':tensorflow:serving:model_warmup_records_read{{model_path="{path}",status="OK"}} 2\n' in text
    assert f':tensorflow:serving:model_warmup_latency_count{{model_path="{path}",status="OK"}} 1\n' in text
    # Two records, three times each, ran in the model before the first request.
    assert ':tensorflow:serving:runtime_latency_count{model_name="half",API="Predict",runtime="TF1"} 6\n' in text


def test_every_kind_of_record_is_replayed(models: Path, monitoring: str, tmp_path: Path) -> None:
    records = [
        LOG(regress_log={"request": regression([2.0, 3.0])}),
        LOG(classify_log={"request": classification([2.0])}),
        LOG(multi_inference_log={"request": inference(("", REGRESS), ("classify", CLASSIFY), xs=(1.0, 2.0, 3.0))}),
        LOG(),
    ]
    model = copied(models / "examples", tmp_path / "m", [record.SerializeToString() for record in records])
    arguments = (f"--model_base_path={model}", "--model_name=examples", monitoring, *ONCE)
    with serving(tmp_path / "log", *arguments, "--num_request_iterations_for_warmup=2") as server:
        text = server.metrics()
    assert f'model_warmup_records_read{{model_path="{model / "1"}",status="OK"}} 4\n' in text
    for api in ("Regress", "Classify"):
        assert f'runtime_latency_count{{model_name="examples",API="{api}",runtime="TF1"}} 2\n' in text
    assert ':tensorflow:serving:request_example_count_total{model="examples"} 6\n' in text


@pytest.mark.parametrize(
    ("model", "log", "words"),
    [
        ("half", LOG(session_run_log={}), "UNIMPLEMENTED: Unsupported log_type for warmup: 5"),
        ("half", LOG(predict_streamed_log={}), "UNIMPLEMENTED: Unsupported log_type for warmup: 7"),
        ("half", LOG(regress_log={"request": regression([1.0])}), "INVALID_ARGUMENT: No regression inputs found"),
        ("examples", LOG(regress_log={"request": regression([])}), "INVALID_ARGUMENT: Input is empty."),
        ("examples", LOG(classify_log={"request": classification([1.0], "none")}),
         "INVALID_ARGUMENT: No signature was found with the name: none"),
        ("examples", LOG(multi_inference_log={"request": inference(("", "other"))}),
         "UNIMPLEMENTED: Unsupported signature method_name: other"),
    ],
)  # fmt: skip
def test_a_record_that_fails_fails_the_load(models: Path, tmp_path: Path, model: str, log: Any, words: str) -> None:
    base = copied(models / model, tmp_path / "m", [log.SerializeToString()])
    assert f"due to error: {words}" in failed_start(f"--model_base_path={base}", "--model_name=m", *ONCE)


def test_a_record_that_is_no_message_fails_the_load(models: Path, tmp_path: Path) -> None:
    base = copied(models / "half", tmp_path / "m", [b"\xff\xff"])
    line = failed_start(f"--model_base_path={base}", "--model_name=m", *ONCE)
    assert "due to error: INVALID_ARGUMENT: Failed to parse warmup record: " in line


@pytest.mark.parametrize("count", [1000, 1001])
def test_a_thousand_records_are_the_limit(models: Path, tmp_path: Path, count: int) -> None:
    record = LOG(predict_log={"request": X}).SerializeToString()
    base = copied(models / "half", tmp_path / "m", [record] * count)
    arguments = (f"--model_base_path={base}", "--model_name=half", *ONCE)
    if count == 1000:
        with serving(tmp_path / "log", *arguments) as server:
            assert "Number of warmup records read: 1000." in server.output()
    else:
        assert f"Number of warmup records exceeds the maximum (1000) at {base / '1' / REQUESTS}" in failed_start(
            *arguments
        )


def test_a_request_that_fails_fails_the_load(models: Path) -> None:
    line = failed_start(f"--model_base_path={models / 'warm_bad'}", "--model_name=half", *ONCE)
    assert "due to error: INVALID_ARGUMENT: Expects arg[0] to be float but string is provided" in line


def test_warm_up_can_be_switched_off(models: Path, tmp_path: Path) -> None:
    arguments = (f"--model_base_path={models / 'warm_bad'}", "--model_name=half", *ONCE)
    with serving(tmp_path / "log", *arguments, "--enable_model_warmup=false") as server:
        assert server.predict("half", {"x": [[2.0]]}).outputs["y"].float_val[0] == 3.0


@pytest.mark.parametrize("damage", ["flip", "cut", "text"])
def test_a_damaged_file_fails_the_load(models: Path, tmp_path: Path, damage: str) -> None:
    shutil.copytree(models / "warm", tmp_path / "m")
    file = tmp_path / "m" / "1" / REQUESTS
    data = bytearray(file.read_bytes())
    if damage == "flip":
        data[20] ^= 1
    file.write_bytes({"flip": bytes(data), "cut": bytes(data[:-3]), "text": b"no records here, only text"}[damage])
    line = failed_start(f"--model_base_path={tmp_path / 'm'}", "--model_name=half", *ONCE)
    assert "due to error: DATA_LOSS: " in line
    assert "Please verify your warmup data is in TFRecord format." in line
