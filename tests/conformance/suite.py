"""Runs the suite's programs from outside: makes the models, runs the suite as a process and reads what came of it.

For those who point the suite at a server of theirs: the e2e test of the image, and the test of `--executable`.
"""

import fcntl
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.conformance.launch import REPOSITORY

NEEDS_EXECUTABLE = "needs an executable, and an address was given"
RUN_SECONDS = 240


@dataclass(frozen=True)
class Outcome:
    """What a run said: its exit status, how many tests passed, and the reason of each that was skipped, by MODULE::NAME."""

    status: int
    passed: int
    skipped: dict[str, str]


def make_models(folder: Path, served_as: str = "") -> None:
    """Make the models in an empty folder, in a process of its own: only that one needs TensorFlow itself."""
    path = f"{REPOSITORY}:{REPOSITORY / 'images' / 'model-server'}"
    argv = [sys.executable, "-m", "tests.conformance.make_models", str(folder), *([served_as] if served_as else [])]
    environment = os.environ | {"PYTHONPATH": path}
    made = subprocess.run(argv, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr


def shared_models(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The folder of the models, made once for all workers and modules of a test run."""
    base = tmp_path_factory.getbasetemp()
    shared = (base if worker_id == "master" else base.parent) / "conformance_models"
    with (shared.parent / "conformance_models.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "done").exists():
            shared.mkdir(exist_ok=True)
            make_models(shared)
            (shared / "done").touch()
    return shared


def run(report: Path, *arguments: str) -> Outcome:
    """Run the suite, one test after the other, since all use the same server; what it prints goes where this prints.

    Args:
        report: file that the run leaves behind, in JUnit's format.
        arguments: of pytest: modules and options.
    """
    argv = [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", f"--junitxml={report}", *arguments]
    done = subprocess.run(argv, cwd=REPOSITORY, timeout=RUN_SECONDS, check=False)
    passed, skipped = 0, {}
    for case in ET.parse(report).iter("testcase") if report.exists() else ():
        states = {child.tag: child for child in case}
        if (skip := states.get("skipped")) is not None:
            skipped[f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}"] = skip.get("message", "")
        passed += not states.keys() & {"skipped", "failure", "error"}
    return Outcome(done.returncode, passed, skipped)
