"""Tiny models, good and bad, and the archives that carry them: `python -m dev.kit.tiny_models DIR` writes them all.

`models_folder` runs it as a program of its own: only here TensorFlow itself is needed, and it takes ten seconds to import.
"""

import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from dev.kit import gated_models
from dev.repository import ROOT

HALVES = {"half_plus_two": 2.0, "half_plus_three": 3.0}
"""Name and the `b` in y = x / 2 + b."""


BUILD = ROOT / "build" / "e2e"
"""What tests on a cluster keep between two runs; ignored by git."""


def models_folder() -> Path:
    """Return the folder of the models, written once for this version of the programs that write them."""
    made = BUILD / "models"
    sources = [Path(__file__), Path(gated_models.__file__), *(ROOT / "examples" / "train").glob("*.py")]
    if made.is_dir() and made.stat().st_mtime > max(source.stat().st_mtime for source in sources):
        return made
    BUILD.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD) as scratch:
        new = Path(scratch) / "models"
        new.mkdir()
        quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2", "TF_ENABLE_ONEDNN_OPTS": "0", "CUDA_VISIBLE_DEVICES": "-1"}
        subprocess.run([sys.executable, "-m", "dev.kit.tiny_models", str(new)], cwd=ROOT, env=quiet, check=True)
        if made.exists():
            made.rename(Path(scratch) / "old")
        new.rename(made)
        made.touch()
    return made


def save_half_plus(folder: Path, offset: float) -> None:
    """Save y = x / 2 + offset: input `x`, output `y`, both float, any shape. The two numbers are variables."""
    import tensorflow as tf  # noqa: PLC0415  slow, and not needed by those who only want HALVES

    module: Any = tf.Module()
    module.a, module.b = tf.Variable(0.5), tf.Variable(offset)
    # Big enough that cutting the file in half is noticed, whatever else is in it.
    module.ballast = tf.Variable(tf.zeros([1024]))

    def run(x: Any) -> dict[str, Any]:
        return {"y": module.a * x + module.b + 0.0 * tf.reduce_sum(module.ballast)}

    module.run = tf.function(run, input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.run})


def save_without_signatures(folder: Path) -> None:
    """Save a module that offers nothing to call."""
    import tensorflow as tf  # noqa: PLC0415

    module: Any = tf.Module()
    module.a = tf.Variable(0.5)
    tf.saved_model.save(module, str(folder))


def write_all(root: Path) -> None:
    """Write version folders NAME/1 and the archives of them, good and bad, below `root`."""
    for name, offset in HALVES.items():
        save_half_plus(root / name / "1", offset)
    save_without_signatures(root / "no_signatures" / "1")
    shutil.copytree(root / "half_plus_two", root / "corrupt")
    for data in (root / "corrupt" / "1" / "variables").glob("*.data-*"):
        data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    (root / "not_a_model" / "1").mkdir(parents=True)
    (root / "not_a_model" / "1" / "README").write_text("The model is in another folder.\n")
    (root / "empty" / "1").mkdir(parents=True)
    gated_models.write_all(root)
    files = root / "files"
    files.mkdir(exist_ok=True)
    for name in (*HALVES, *gated_models.ARCHIVES, "no_signatures", "corrupt", "not_a_model", "empty"):
        _tar(files / f"{name}.tar.gz", partial(_add_version, root / name / "1"))
    _tar(files / "escape.tar.gz", _escape)
    with zipfile.ZipFile(files / "half_plus_three.zip", "w") as archive:
        for path in sorted((root / "half_plus_three" / "1").rglob("*")):
            archive.write(path, path.relative_to(root / "half_plus_three" / "1"))


def _tar(path: Path, fill: Callable[[tarfile.TarFile], None]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        fill(archive)


def _add_version(folder: Path, archive: tarfile.TarFile) -> None:
    archive.add(folder, "1")


def _escape(archive: tarfile.TarFile) -> None:
    content = b"written outside"
    member = tarfile.TarInfo("1/../../../tmp/escaped")
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


if __name__ == "__main__":
    write_all(Path(sys.argv[1]))
