"""Warm-up records are replayed before a version is available; a bad one fails the load."""

import shutil
from pathlib import Path

import pytest

from tests.model_server.harness import serving
from tests.model_server.test_start import ONCE, failed_start

REQUESTS = Path("assets.extra") / "tf_serving_warmup_requests"


def test_records_are_replayed_and_counted(models: Path, monitoring: str, tmp_path: Path) -> None:
    arguments = (f"--model_base_path={models / 'warm'}", "--model_name=half", monitoring, *ONCE)
    with serving(tmp_path / "log", *arguments, "--num_request_iterations_for_warmup=3") as server:
        text = server.metrics()
    path = models / "warm" / "1"
    assert f':tensorflow:serving:model_warmup_records_read{{model_path="{path}",status="OK"}} 2\n' in text
    assert f':tensorflow:serving:model_warmup_latency_count{{model_path="{path}",status="OK"}} 1\n' in text
    # Two records, three times each, ran in the model before the first request.
    assert ':tensorflow:serving:runtime_latency_count{model_name="half",API="Predict",runtime="TF1"} 6\n' in text


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
