"""Imports the tools against the same message stubs as in the image, not against the whole of TensorFlow."""

import importlib.util
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).resolve().parents[2]
_READERS = ("slipway_tools.savedmodel", "slipway_tools.prober.prober_command")


def _write_stubs(folder: Path) -> None:
    spec = importlib.util.spec_from_file_location("stubs", _ROOT / "images" / "tools" / "stubs.py")
    assert spec is not None
    assert spec.loader is not None
    stubs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(stubs)
    installed = Path(sysconfig.get_path("purelib"))
    stubs.write(stubs.closure(lambda path: (installed / path).read_bytes()), folder)


def _import_against_stubs() -> None:
    """Bind the modules that read messages to the stubs, and leave `import tensorflow` as it was for others."""
    if "tensorflow" in sys.modules:
        for name in _READERS:
            importlib.import_module(name)
        return
    with tempfile.TemporaryDirectory() as folder:
        _write_stubs(Path(folder))
        sys.path.insert(0, folder)
        try:
            for name in _READERS:
                importlib.import_module(name)
        finally:
            sys.path.remove(folder)
            for name in [
                name for name in sys.modules if name.partition(".")[0] in {"tensorflow", "tensorflow_serving"}
            ]:
                del sys.modules[name]


_import_against_stubs()

from slipway_tools import cli  # noqa: E402
from tests.model_server.conftest import models as saved_models  # noqa: E402, F401 - a fixture
from tests.tools.probers import Prober, Start  # noqa: E402
from tests.tools.support import Outcome, Site, serve  # noqa: E402

Run = Callable[..., Outcome]


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment of a process that finds what the image has, and nothing of TensorFlow."""
    stubs = tmp_path_factory.mktemp("stubs")
    _write_stubs(stubs)
    return {**os.environ, "PYTHONPATH": f"{_ROOT / 'images' / 'tools'}:{stubs}"}


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base path of the model of make_models.py."""
    folder = tmp_path_factory.mktemp("zoo")
    script = _ROOT / "tests" / "tools" / "make_models.py"
    made = subprocess.run([sys.executable, script, folder], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return folder / "zoo"


@pytest.fixture
def start(tmp_path: Path, environment: dict[str, str]) -> Iterator[Start]:
    """Start a prober: start(port, golden, gate, *flags, model=…)."""
    probers: list[Prober] = []

    def call(port: int, golden: Path, gate: Any, *flags: str, model: str = "half") -> Prober:
        probers.append(Prober(tmp_path, environment, port, golden, gate, *flags, model=model))
        return probers[-1]

    yield call
    for prober in probers:
        prober.stop()


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    server = serve(made)
    yield made
    server.shutdown()
    server.server_close()


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """The pod's model volume."""
    path = tmp_path / "models"
    path.mkdir()
    return path


@pytest.fixture
def run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run the command line in this process."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def call(*arguments: str, log: Path = tmp_path / "termination-log") -> Outcome:
        log.unlink(missing_ok=True)
        reported = [] if arguments[0] == "digest" else [f"--termination-log={log}"]
        code = cli.main([*arguments, *reported])
        captured = capfd.readouterr()
        return Outcome.of(code, log, captured.out, captured.err)

    yield call
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def fetch(run: Run, models: Path) -> Run:
    """Run `fetch` for a model called digits; loopback is allowed, because the test's server lives there."""

    def call(uri: str, *arguments: str) -> Outcome:
        return run(
            "fetch", f"--uri={uri}", f"--destination={models}/digits", f"--config-dir={models}/.config",
            "--allow-address=127.0.0.0/8", "--attempts=1", *arguments,
        )  # fmt: skip

    return call
