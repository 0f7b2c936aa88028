"""The conformance suite tests the executable that it was given, and no other server."""

import sys
from pathlib import Path

import pytest

from tests.conformance import suite
from tests.conformance.launch import REPOSITORY


@pytest.fixture(scope="module")
def suite_models(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    return suite.shared_models(tmp_path_factory, worker_id)


def executable(folder: Path, before: str) -> Path:
    """A tensorflow_model_server, as a distribution would install it; `before` is what its shell does first."""
    path = folder / "tensorflow_model_server"
    code = REPOSITORY / "images" / "model-server"
    path.write_text(f'#!/bin/sh\n{before}\nPYTHONPATH={code} exec {sys.executable} -P -m model_server "$@"\n')
    path.chmod(0o755)
    return path


def test_a_named_executable_is_started_and_asked(suite_models: Path, tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    server = executable(tmp_path, f'echo "$@" >> {starts}')
    modules = ["tests/conformance/test_metrics.py", "tests/conformance/test_process.py"]
    chosen = f"--executable={server}", f"--models={suite_models}", "-k", "test_metrics or version or sigterm"
    outcome = suite.run(tmp_path / "report.xml", *modules, *chosen)
    assert outcome.status == 0
    assert outcome.passed >= 7
    assert outcome.skipped == {
        "test_process::test_sigterm_shuts_down_gracefully": "the C++ server has no handler for SIGTERM"
    }
    flags = starts.read_text().splitlines()
    assert "--version" in flags
    assert any(f"--model_config_file={suite_models}/models.config" in line for line in flags)


def test_an_executable_that_ends_at_once_fails_the_suite(suite_models: Path, tmp_path: Path) -> None:
    server = executable(tmp_path, "exit 3")
    chosen = "tests/conformance/test_metrics.py", f"--executable={server}", f"--models={suite_models}"
    outcome = suite.run(tmp_path / "report.xml", *chosen)
    assert (outcome.status, outcome.passed) == (pytest.ExitCode.TESTS_FAILED, 0)
