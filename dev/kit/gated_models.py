"""Models for the gate's tests: digits trained well and on shuffled labels, a slow one, a broken one, one that can change.

Called by `dev.kit.tiny_models`, which has imported TensorFlow quietly. What is written here is listed in ARCHIVES.
"""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

ARCHIVES = ("digits", "digits_shuffled", "slow", "renamed", "not_a_number", "tunable", "flipped", "cut_graph")
EPOCHS = 5
"""Enough for an accuracy of 0.95 on the digits."""
_STEPS = 15_000
"""Turns of the slow model's loop: about 50 ms of one core. A gate sends at least 100 requests, and up to three times as many."""

Run = Callable[..., Mapping[str, Any]]


def write_all(root: Path) -> None:
    """Write NAME/1 for all of ARCHIVES, and the golden set of the digits."""
    import tensorflow as tf  # noqa: PLC0415  slow, and not needed by those who only want ARCHIVES

    _digits(root)
    floats = tf.TensorSpec([None], tf.float32, name="x")
    _save(root / "slow", lambda module: {"serving_default": _function(tf, _slow(tf, module), floats)})
    renamed = tf.TensorSpec([None], tf.float32, name="z")
    _save(
        root / "renamed", lambda module: {"serving_default": _function(tf, lambda z: {"y": _line(module, z)}, renamed)}
    )
    _save(
        root / "not_a_number",
        lambda module: {"serving_default": _function(tf, lambda x: {"y": _line(module, x) * float("nan")}, floats)},
    )
    _save(root / "tunable", lambda module: _tunable(tf, module, floats))
    _damage(root)
    files = root / "files"
    files.mkdir(exist_ok=True)
    shutil.copy(root / "digits" / "golden.npz", files / "digits-golden.npz")


def _digits(root: Path) -> None:
    """Train the example's network, once as it should be and once on labels that say nothing."""
    from examples.train import digits, runtime  # noqa: PLC0415  import Keras
    from examples.train.export import export  # noqa: PLC0415

    for name, shuffled in (("digits", False), ("digits_shuffled", True)):
        runtime.reproducible()
        export(digits.train(EPOCHS, shuffled=shuffled), root / name, 1)


def _save(folder: Path, signatures: Callable[[Any], Mapping[str, Any]]) -> None:
    import tensorflow as tf  # noqa: PLC0415

    module: Any = tf.Module()
    module.a, module.b = tf.Variable(0.5), tf.Variable(2.0)
    module.functions = signatures(module)
    tf.saved_model.save(module, str(folder / "1"), signatures=module.functions)


def _function(tf: Any, run: Run, *signature: Any) -> Any:
    return tf.function(run, input_signature=list(signature))


def _line(module: Any, x: Any) -> Any:
    return module.a * x + module.b


def _slow(tf: Any, module: Any) -> Run:
    """Answer y = x / 2 + 2 after a loop whose result nobody can know beforehand."""

    def run(x: Any) -> Mapping[str, Any]:
        start = tf.reduce_sum(x) * 0.0
        _, waste = tf.while_loop(lambda i, _: i < _STEPS, lambda i, w: (i + 1, tf.sin(w + 1.0)), (0, start))
        return {"y": _line(module, x) + 0.0 * waste}

    return run


def _tunable(tf: Any, module: Any, floats: Any) -> Mapping[str, Any]:
    """Return y = x / 2 + b, and a signature that sets b: a server that starts to answer wrongly."""

    def tune(offset: Any) -> Mapping[str, Any]:
        with tf.control_dependencies([module.b.assign(offset[0])]):
            return {"offset": tf.identity(offset)}

    return {
        "serving_default": _function(tf, lambda x: {"y": _line(module, x)}, floats),
        "tune": _function(tf, tune, tf.TensorSpec([None], tf.float32, name="offset")),
    }


def _damage(root: Path) -> None:
    """Copy good models and break a file of each."""
    for name in ("flipped", "cut_graph"):
        shutil.copytree(root / "half_plus_two", root / name)
    [data] = (root / "flipped" / "1" / "variables").glob("*.data-*")
    content = np.frombuffer(data.read_bytes(), np.uint8).copy()
    content[: len(content) // 2] ^= 0xFF
    data.write_bytes(content.tobytes())
    graph = root / "cut_graph" / "1" / "saved_model.pb"
    graph.write_bytes(graph.read_bytes()[: graph.stat().st_size // 2])
