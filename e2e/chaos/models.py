"""The models of the chaos tests, good and bad: two that pass the golden set, one that answers wrongly, one torn apart.

A program of its own, like `dev.kit.tiny_models`, because TensorFlow takes long to import.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

from dev.kit.archive_server import url
from dev.kit.locks import locked
from dev.kit.tiny_models import save_half_plus
from dev.kit.traffic import X, answer_of
from dev.repository import ROOT

OFFSETS = {"good-a": 2.0, "good-b": 3.0, "wrong": 7.0}
"""The `b` in y = x / 2 + b of each archive; `corrupt` is `wrong` with half of its variables."""
GOLDEN = "golden"
_EXPECTED = 2.5
"""Both good models are within this offset's tolerance."""


def answers(*names: str) -> set[float]:
    """Return what these models answer."""
    return {answer_of(OFFSETS[name]) for name in names}


def model(name: str) -> dict[str, Any]:
    """Return the field `spec.model`."""
    return {"uri": url(f"{name}.tar.gz")}


def golden_set() -> dict[str, Any]:
    """Return the ConfigMap of every gate here."""
    lines = [{"inputs": {"x": x}, "outputs": {"y": x / 2 + _EXPECTED}} for x in (0.0, 1.0, X, -3.0)]
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    return {"metadata": {"name": GOLDEN}, "data": {"golden.jsonl": text}}


def gate() -> dict[str, Any]:
    """Return `spec.rollout.gate`."""
    return {"golden": {"configMap": GOLDEN}, "metrics": {"matches": ">=1"}, "tolerance": {"absolute": 0.6}}


def folder(build: Path) -> Path:
    """Return the folder of the archives, made once for this version of the program that makes them."""
    made = build / "models"
    with locked(build / "models.lock"):
        if not made.is_dir() or made.stat().st_mtime < Path(__file__).stat().st_mtime:
            shutil.rmtree(made, ignore_errors=True)
            quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1"}
            scratch = build / "models.new"
            shutil.rmtree(scratch, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "e2e.chaos.models", str(scratch)], cwd=ROOT, env=quiet, check=True)
            scratch.rename(made)
    return made


def write_all(target: Path) -> None:
    """Write NAME.tar.gz for each model into a new folder."""
    target.mkdir()
    for name, offset in OFFSETS.items():
        version = target / name / "1"
        save_half_plus(version, offset)
        _pack(version, target / f"{name}.tar.gz")
    for data in (version / "variables").glob("*.data-*"):
        data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    _pack(version, target / "corrupt.tar.gz")
    for name in OFFSETS:
        shutil.rmtree(target / name)


def _pack(version: Path, path: Path) -> None:
    with tarfile.open(path, "w:gz") as archive:
        archive.add(version, "1")


if __name__ == "__main__":
    write_all(Path(sys.argv[1]))
