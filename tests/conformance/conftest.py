"""Which server the suite tests: `--address HOST:GRPC,REST`, `--executable PATH`, or this repository's own as a process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.launch import Launcher
from tests.conformance.make_models import flags
from tests.conformance.suite import NEEDS_EXECUTABLE, shared_models
from tests.conformance.wire import Target


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance", "the model server under test")
    group.addoption("--address", help="HOST:GRPC,REST of a running server with the models and flags of make_models.py")
    group.addoption("--executable", help="a tensorflow_model_server to start; default: this repository's, as a process")
    group.addoption(
        "--models", help="a folder that make_models.py made; default: it is made now, which takes TensorFlow"
    )


@pytest.fixture(scope="session")
def models(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The folder of make_models.py."""
    given = request.config.getoption("--models", default=None)
    return Path(given).resolve() if given else shared_models(tmp_path_factory, worker_id)


@pytest.fixture(scope="session")
def launcher(request: pytest.FixtureRequest) -> Launcher:
    """Starts servers; tests that need it are skipped where only an address is given."""
    if request.config.getoption("--address", default=None):
        pytest.skip(NEEDS_EXECUTABLE)
    return Launcher(request.config.getoption("--executable", default=None))


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """The server that all tests use, with every model. They leave it as it was."""
    address = request.config.getoption("--address", default=None)
    if address:
        host_and_grpc, _, rest = address.partition(",")
        yield Target(host_and_grpc, f"{host_and_grpc.rpartition(':')[0]}:{rest}")
        return
    models: Path = request.getfixturevalue("models")
    log = tmp_path_factory.mktemp("server") / "log"
    with request.getfixturevalue("launcher").serving(log, *flags(models)) as server:
        yield server.target
