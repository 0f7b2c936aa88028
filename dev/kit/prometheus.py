"""A real Prometheus on loopback: the one in PATH, or Debian's, unpacked into the cache without being installed."""

import json
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dev.cluster.controlplane import free_ports
from dev.cluster.nodes.packages import APT_LOCK
from dev.cluster.paths import cache_dir
from dev.errors import DevError
from dev.kit.eventually import eventually
from dev.kit.locks import locked
from dev.shell import find, run

_SECONDS = 300
_PACKAGE = "prometheus"


def program(name: str = "prometheus") -> Path:
    """Return the path of prometheus or promtool, downloading Debian's package first where neither is installed.

    Raises:
        DevError: there is none, and no apt-get to get it with.
    """
    if (installed := find(name)) is not None:
        return Path(installed)
    folder = cache_dir() / "debian" / _PACKAGE
    unpacked = folder / "usr" / "bin" / name
    with locked(folder.with_name(f".{_PACKAGE}.lock")):
        if not unpacked.exists():
            _unpack(folder)
    return unpacked


def _unpack(folder: Path) -> None:
    if find("apt-get") is None:
        raise DevError(
            f"{_PACKAGE} is not installed, and there is no apt-get to download it with", f"Install {_PACKAGE}."
        )
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        place = Path(scratch)
        try:
            run(["apt-get", "download", _PACKAGE], cwd=place, timeout=_SECONDS)
        except DevError:  # without lists of packages, as in a fresh container
            run(["flock", APT_LOCK, "apt-get", "update"], timeout=_SECONDS)
            run(["apt-get", "download", _PACKAGE], cwd=place, timeout=_SECONDS)
        [package] = place.glob("*.deb")
        run(["dpkg-deb", "--extract", package, place / "root"], timeout=_SECONDS)
        shutil.rmtree(folder, ignore_errors=True)
        (place / "root").rename(folder)


@dataclass(frozen=True)
class Sample:
    """One series of an instant vector."""

    labels: Mapping[str, str]
    value: float


class Prometheus:
    """A running server; `url` is its address."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expression: str) -> list[Sample]:
        """Return the instant vector of an expression at this moment.

        Raises:
            DevError: Prometheus refuses the expression.
        """
        found = self._get("/api/v1/query", query=expression)["result"]
        return [Sample(each["metric"], float(each["value"][1])) for each in found]

    def targets(self) -> list[dict[str, Any]]:
        """Return what is scraped, with its health and last error."""
        found: list[dict[str, Any]] = self._get("/api/v1/targets")["activeTargets"]
        return found

    def scraped(self) -> None:
        """Wait until every target has been scraped well once."""
        eventually(
            lambda: all(target["health"] == "up" for target in self.targets() or [{"health": ""}]), "all are scraped"
        )

    def _get(self, path: str, **query: str) -> dict[str, Any]:
        address = f"{self.url}{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(address, timeout=10) as response:  # noqa: S310 - loopback
                document = json.load(response)
        except urllib.error.HTTPError as error:
            raise DevError(f"Prometheus refuses {query}: {error.read().decode()}") from None
        found: dict[str, Any] = document["data"]
        return found


@contextmanager
def running(scrapes: Sequence[Mapping[str, Any]], folder: Path, interval: str = "1s") -> Iterator[Prometheus]:
    """Run Prometheus with these scrape configurations, its data in `folder`, until the body ends."""
    [port] = free_ports(1)
    settings = {"global": {"scrape_interval": interval, "scrape_timeout": interval}, "scrape_configs": list(scrapes)}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
    argv = [str(program()), f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    argv += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log)
    try:
        server = Prometheus(f"http://127.0.0.1:{port}")
        eventually(lambda: _answers(server, process, folder), "Prometheus answers")
        yield server
    finally:
        process.terminate()
        process.wait(timeout=30)


def _answers(server: Prometheus, process: "subprocess.Popen[bytes]", folder: Path) -> bool:
    assert process.poll() is None, (folder / "prometheus.log").read_text()
    try:
        with urllib.request.urlopen(f"{server.url}/-/ready", timeout=5) as response:  # noqa: S310 - loopback
            return bool(response.status == 200)  # noqa: PLR2004 - HTTP
    except OSError:
        return False
