"""Models made once a session, and one server for the tests that leave it as it was."""

import fcntl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.model_server.harness import REPOSITORY, Server, serving

MONITORING = 'prometheus_config { enable: true path: "/monitoring/prometheus/metrics" }\n'


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A directory with the models of make_models.py, shared by parallel workers."""
    base = tmp_path_factory.getbasetemp()
    shared = (base if worker_id == "master" else base.parent) / "tensorflow_models"
    with (shared.parent / "tensorflow_models.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "done").exists():
            shared.mkdir(exist_ok=True)
            script = REPOSITORY / "tests" / "model_server" / "make_models.py"
            made = subprocess.run([sys.executable, script, shared], capture_output=True, text=True, check=False)
            assert made.returncode == 0, made.stderr
            (shared / "done").touch()
    return shared


@pytest.fixture(scope="session")
def monitoring(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("config") / "monitoring.pbtxt"
    file.write_text(MONITORING)
    return f"--monitoring_config_file={file}"


@pytest.fixture(scope="session")
def model_config(models: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A config file with every healthy model; half also has a label."""
    file = tmp_path_factory.mktemp("config") / "models.pbtxt"
    entries = [
        f'config {{ name: "{name}" base_path: "{models / name}" model_platform: "tensorflow" {more} }}'
        for name, more in (
            ("half", 'version_labels { key: "stable" value: 1 }'),
            ("kitchen", ""),
            ("digits", ""),
            ("examples", ""),
            ("vocabulary", ""),
        )
    ]
    file.write_text("model_config_list {\n" + "\n".join(entries) + "\n}\n")
    return f"--model_config_file={file}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, model_config: str, monitoring: str) -> Iterator[Server]:
    """A server with every model, health and metrics, as the operator starts it."""
    with serving(
        tmp_path_factory.mktemp("server") / "log",
        model_config,
        monitoring,
        "--allow_version_labels_for_unavailable_models=true",
        "--file_system_poll_wait_seconds=0",
        "--enable_grpc_healthcheck_service=true",
        "--rest_api_enable_cors_support=true",
    ) as running:
        yield running
