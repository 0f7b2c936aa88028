"""The models of the examples: trained and exported unless that has been done, and published into a volume of the cluster."""

import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dev.errors import DevError
from dev.kit import manifests
from dev.kit.console import Console, show
from dev.kit.kubectl import Kubectl, KubectlError
from dev.repository import ROOT
from dev.shell import python

TRAINED = ROOT / "build" / "demo"
"""Where the demo keeps what it trained; ignored by git."""


@dataclass(frozen=True)
class Model:
    """An exported model: `name` in the cluster, `program` below examples/train, everything in `root`."""

    name: str
    program: str
    root: Path

    @property
    def folder(self) -> Path:
        """Return the exported version."""
        return self.root / "1"

    @property
    def golden(self) -> bytes:
        """Return the golden set: examples of the test split with what is right for them."""
        return (self.root / "golden.npz").read_bytes()

    @property
    def metrics(self) -> dict[str, Any]:
        """Return what training measured on the test split."""
        return dict(json.loads((self.root / "metrics.json").read_text()))


@dataclass(frozen=True)
class Published:
    """Where a model lies in its volume, and the digest of its content."""

    version: int
    digest: str


def of(name: str, root: Path = TRAINED) -> Model:
    """Return the model that one of the examples serves."""
    return Model(name, name.replace("-", "_"), root / name)


def train(model: Model, console: Console) -> None:
    """Train and export, unless a complete export is there already."""
    if all((model.root / name).is_file() for name in ("metrics.json", "golden.npz", "1/saved_model.pb")):
        measured = ", ".join(f"{key} {value:.4g}" for key, value in model.metrics.items() if isinstance(value, float))
        console.detail(f"{model.folder.relative_to(ROOT)} is there already: {measured}")
        return
    console.detail(show(console, python("-m", f"examples.train.{model.program}", str(model.root))))


def prepare_volume(kubectl: Kubectl) -> None:
    """Make the namespace, the claim `models` and the pod that writes into it, and wait until the pod runs.

    Raises:
        DevError: the pod does not start, or the API server warned of it.
    """
    kubectl.apply(manifests.namespace(kubectl.namespace))
    output = kubectl.apply(manifests.claim(), manifests.publisher())
    if output.warnings:
        raise DevError("\n".join(output.warnings))
    kubectl.run("wait", "--for=condition=Ready", f"pod/{manifests.PUBLISHER}", "--timeout=120s", timeout=130)


def publish_golden(kubectl: Kubectl, model: Model) -> str:
    """Put a model's golden set into the ConfigMap NAME-golden; return its name."""
    name = f"{model.name}-golden"
    kubectl.apply(manifests.golden_set(name, model.golden), server_side=True)
    return name


def publish(kubectl: Kubectl, name: str, folder: Path) -> Published:
    """Put a version folder into the claim, under the first number that is free or holds the same content.

    Raises:
        KubectlError: with the words of slipway-tools.
    """
    archive, version = pack(folder), int(folder.name)
    while True:
        try:
            said = _publish(kubectl, name, version, archive)
        except KubectlError as error:
            # A model trained again has other bytes; a version that was published once is never overwritten.
            if "exists with other content" not in str(error):
                raise
            version += 1
            continue
        result = json.loads(said.splitlines()[-1])
        return Published(int(result["version"]), str(result["digest"]))


def pack(folder: Path) -> bytes:
    """Return a tar of a version folder's content, at the root of the archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in sorted(folder.iterdir()):
            archive.add(path, path.name)
    return buffer.getvalue()


def _publish(kubectl: Kubectl, name: str, version: int, archive: bytes) -> str:
    command = ["slipway-tools", "publish", "--directory=/models", f"--name={name}", f"--version={version}"]
    return kubectl.run("exec", "-i", manifests.PUBLISHER, "--", *command, stdin=archive, timeout=120).stdout
