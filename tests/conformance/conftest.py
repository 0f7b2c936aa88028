"""Which server the suite asks: `--address HOST:GRPC,REST`, `--executable PATH`, or this repository's own as a process."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.launch import REPOSITORY, Launcher
from tests.conformance.make_models import FLAGS
from tests.conformance.wire import Target


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance", "the model server under test")
    group.addoption("--address", help="HOST:GRPC,REST of a running server with the models and flags of make_models.py")
    group.addoption("--executable", help="a tensorflow_model_server to start; default: this repository's, as a process")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The folder of make_models.py, shared by parallel workers."""
    base = tmp_path_factory.getbasetemp()
    shared = (base if worker_id == "master" else base.parent) / "conformance_models"
    with (shared.parent / "conformance_models.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "done").exists():
            shared.mkdir(exist_ok=True)
            argv = [sys.executable, "-m", "tests.conformance.make_models", str(shared)]
            path = f"{REPOSITORY}:{REPOSITORY / 'images' / 'model-server'}"
            made = subprocess.run(
                argv,
                cwd=REPOSITORY,
                env={**os.environ, "PYTHONPATH": path},
                capture_output=True,
                text=True,
                check=False,
            )
            assert made.returncode == 0, made.stderr
            (shared / "done").touch()
    return shared


@pytest.fixture(scope="session")
def launcher(request: pytest.FixtureRequest) -> Launcher:
    """Starts servers; tests that need it are skipped where only an address is given."""
    if request.config.getoption("--address", default=None):
        pytest.skip("needs an executable, and an address was given")
    return Launcher(request.config.getoption("--executable", default=None))


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """The server that all tests ask, with every model. They leave it as it was."""
    address = request.config.getoption("--address", default=None)
    if address:
        host_and_grpc, _, rest = address.partition(",")
        yield Target(host_and_grpc, f"{host_and_grpc.rpartition(':')[0]}:{rest}")
        return
    models: Path = request.getfixturevalue("models")
    flags = [flag.replace("DIR", str(models)) for flag in FLAGS]
    with request.getfixturevalue("launcher").serving(tmp_path_factory.mktemp("server") / "log", *flags) as server:
        yield server.target
