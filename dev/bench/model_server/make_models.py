"""Makes the models of the benchmark: `python -m dev.bench.model_server.make_models DIRECTORY`.

A process of its own, because TensorFlow takes seconds and half a gigabyte. The networks are those of the examples and one
dense net, with random weights: how fast they answer does not depend on what they have learned. Each lies twice in DIRECTORY:
`NAME/1` as a SavedModel and `NAME.keras` for Flask.
"""

import sys
from pathlib import Path

from examples.train import runtime

runtime.quiet()

import keras  # noqa: E402  after quiet()
import numpy as np  # noqa: E402

from examples.train import diabetes, digits  # noqa: E402
from examples.train.data import Split  # noqa: E402


def dense() -> keras.Model:
    """Return a net of 1000, 128 and 10 units: little to compute on large inputs."""
    vector = keras.Input((1000,), name="vector")
    hidden = keras.layers.Dense(128, activation="relu")(vector)
    return keras.Model(vector, keras.layers.Dense(10, activation="softmax")(hidden), name="dense")


def regression() -> keras.Model:
    """Return the diabetes network, normalising made-up measurements: hardly anything to compute."""
    random = np.random.default_rng(runtime.SEED)
    return diabetes.build(Split(random.normal(size=(64, 10)).astype(np.float32), random.normal(size=64)))


def main(target: Path) -> None:
    """Write every model below `target`."""
    keras.utils.set_random_seed(runtime.SEED)
    for name, network in (("digits", digits.build()), ("dense", dense()), ("regression", regression())):
        network.export(str(target / name / "1"), format="tf_saved_model", verbose=False)
        network.save(target / f"{name}.keras")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
