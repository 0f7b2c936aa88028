"""First and last steps of every training program: a quiet, reproducible TensorFlow, and one command line.

Imported before TensorFlow, because TensorFlow reads these variables when it is imported.
"""

import argparse
import logging
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from examples.train.export import Trained

SEED = 20
"""The one seed of all splits, initial weights and shuffles."""


def quiet() -> None:
    """Keep TensorFlow's start-up notices off the terminal; errors are still shown."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # its sums differ with the number of threads, and it says so
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    logging.getLogger("absl").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=UserWarning, module="keras")


def reproducible(seed: int = SEED) -> None:
    """Seed Python, NumPy and TensorFlow, and choose kernels that give the same sums in every run."""
    import keras  # noqa: PLC0415  TensorFlow reads its settings when imported: after quiet()
    import tensorflow as tf  # noqa: PLC0415

    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def main(name: str, description: str, train: "Callable[[], Trained]") -> int:
    """Run one training program: parse the command line, train, export, say what came out. Returns the exit status."""
    parser = argparse.ArgumentParser(prog=f"python -m examples.train.{name}", description=description)
    parser.add_argument("dir", type=Path, metavar="DIR", help="folder that gets VERSION/, metrics.json and test.npz")
    parser.add_argument("--version", type=_positive, default=1, help="number of the version folder (default: 1)")
    options = parser.parse_args()
    from examples.train.export import export  # noqa: PLC0415  imports TensorFlow: not for --help

    reproducible()
    started = time.monotonic()
    trained = train()
    seconds = time.monotonic() - started
    folder = export(trained, options.dir, options.version)
    measured = ", ".join(f"{key} {value:.4g}" for key, value in trained.metrics.items())
    print(f"trained {trained.name} in {seconds:.1f} s; on {len(trained.test)} unseen examples: {measured}")
    print(f"exported {folder}")
    return 0


def _positive(text: str) -> int:
    number = int(text) if text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a version: give a whole number from 1 up")
    return number
