"""What a refusal says was expected, and what was nearest to it."""

from pathlib import Path

import pytest

from tests.tools.conftest import Run
from tests.tools.support import below, model, write


@pytest.fixture
def claim(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.mkdir()
    return path


MISPLACED = {
    "v1": (["v1"], "rename that folder to 1, or let spec.model.uri be pvc://claim/m/v1; it is then served as version 1"),
    "the highest of several": (["v1", "v12"], "The nearest SavedModel is in 'v12': rename that folder to 12"),
    "no number in it": (["0.1"], "rename that folder to a whole number, such as 1, or let"),
    "a date": (["2026-11-29"], "rename that folder to a whole number"),
    "too large": (["9" * 20], "to a whole number, such as 1 of at most 9223372036854775807"),
    "negative": (["-1"], "rename that folder to 1"),
    "other digits": (["\u0663"], "rename that folder to 3"),
    "deeper, with its number": (["export/Servo/1"], "let spec.model.uri be pvc://claim/m/export/Servo"),
    "deeper, with numbers": (["a b/1", "a b/2"], "let spec.model.uri be pvc://claim/m/a%20b"),
    "deeper, without": (["out/final"], "let spec.model.uri be pvc://claim/m/out/final; it is then served as"),
    "below its version": (["1/model"], "its content into the folder of the version, or let spec.model.uri be pvc://claim/m/1/model"),
    "a version in a version": (["2/1"], "let spec.model.uri be pvc://claim/m/2"),
}  # fmt: skip


@pytest.mark.parametrize(("folders", "words"), MISPLACED.values(), ids=MISPLACED)
def test_a_refusal_names_the_nearest_model_and_the_cure(
    claim: Path, fetch: Run, folders: list[str], words: str
) -> None:
    write(claim / "m", {"code/train.py": b""})  # a folder that is alone is taken, whatever its name is
    for folder in folders:
        write(claim / "m" / folder, model())
    done = fetch("pvc://claim/m", f"--source={claim}/m")
    assert (done.code, done.reason) == (1, "NotASavedModel")
    assert words in done.text


def test_the_cure_of_a_refusal_is_one(claim: Path, fetch: Run) -> None:
    write(claim, below("m/a b/1", model()) | {"m/code/train.py": b""})
    done = fetch("pvc://claim/m", f"--source={claim}/m")
    assert done.text.rstrip().endswith("let spec.model.uri be pvc://claim/m/a%20b")
    assert fetch("pvc://claim/m/a%20b", f"--source={claim}/m/a b").code == 0


def test_what_was_expected_is_said(claim: Path, fetch: Run) -> None:
    write(claim, {"m/notes.txt": b""})
    done = fetch("pvc://claim/m", f"--source={claim}/m")
    assert "it has no saved_model.pb, and no folder whose name is a whole number" in done.text
    assert done.text.rstrip().endswith("found: 'notes.txt'")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"saved_model (1).pb": b""}, "has to be called saved_model.pb, not 'saved_model (1).pb'"),
        ({"Saved_Model.pb": b""}, "has to be called saved_model.pb"),
        ({"model.safetensors": b""}, "load them and export the model"),
        ({"model.pt": b""}, "a PyTorch file is not a SavedModel"),
        ({".model/saved_model.pb": b""}, "there is nothing in it but '.model', which is not read as a model"),
    ],
)
def test_files_that_are_nearly_a_model(claim: Path, fetch: Run, files: dict[str, bytes], words: str) -> None:
    write(claim / "m", files)
    assert words in fetch("pvc://claim/m", f"--source={claim}/m").text


def test_a_version_that_is_there_by_another_name(claim: Path, fetch: Run) -> None:
    write(claim, below("m/1", model()) | below("m/v2", model()))
    done = fetch("pvc://claim/m", f"--source={claim}/m", "--version=2")
    assert done.reason == "VersionNotFound"
    assert "'v2' is not read as a version, because its name is not a whole number: rename it to 2" in done.text


def test_the_name_that_was_probably_meant(claim: Path, fetch: Run) -> None:
    write(claim, below("Digits/1", model()) | {f"a{number}/x": b"" for number in range(20)})
    assert "did you mean 'Digits'?" in fetch("pvc://claim/digit", f"--source={claim}/digit").text
