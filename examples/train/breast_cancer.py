"""A softmax network of three layers that tells malignant from benign tumours (569 patients, 30 measurements each).

Serves `features` (N, 30) in the units of the data set; answers `malignant` (N), 1 for malignant, and `probabilities`
(N, 2) in the order malignant, benign.
"""

import sys

from examples.train import runtime

runtime.quiet()

import keras  # noqa: E402  after quiet()
import numpy as np  # noqa: E402
from sklearn.datasets import load_breast_cancer  # noqa: E402
from sklearn.model_selection import train_test_split  # noqa: E402

from examples.train.data import Split, batches  # noqa: E402
from examples.train.export import Trained  # noqa: E402

EPOCHS = 40
MALIGNANT = 0
"""How the data set encodes it; benign is 1."""


def load() -> tuple[Split, Split]:
    """Return train and test split, 4 to 1, with the same share of malignant tumours."""
    data = load_breast_cancer()
    train_x, test_x, train_y, test_y = train_test_split(
        data.data.astype(np.float32), data.target, test_size=0.2, stratify=data.target, random_state=runtime.SEED
    )
    return Split(train_x, train_y), Split(test_x, test_y)


def build(fit: Split) -> keras.Model:
    """Return the untrained network; measurements are normalised inside, so that clients send them as they are."""
    normalise = keras.layers.Normalization()
    normalise.adapt(fit.inputs)
    features = keras.Input((fit.inputs.shape[1],), name="features")
    hidden = keras.layers.Dense(32, activation="relu")(normalise(features))
    hidden = keras.layers.Dropout(0.3)(hidden)
    hidden = keras.layers.Dense(16, activation="relu")(hidden)
    return keras.Model(features, keras.layers.Dense(2, activation="softmax")(hidden), name="breast-cancer")


def train(epochs: int = EPOCHS) -> Trained:
    """Train, and measure accuracy, sensitivity (malignant ones found) and specificity (benign ones left alone)."""
    fit, test = load()
    network = build(fit)
    network.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    network.fit(batches(fit, 32), epochs=epochs, verbose=0)
    answers = network(test.inputs, training=False).numpy().argmax(axis=1)
    right, malignant = answers == test.targets, test.targets == MALIGNANT
    metrics = {
        "accuracy": float(right.mean()),
        "sensitivity": float(right[malignant].mean()),
        "specificity": float(right[~malignant].mean()),
    }
    outputs = {
        "malignant": keras.ops.cast(keras.ops.equal(keras.ops.argmax(network.output, axis=-1), MALIGNANT), "int32"),
        "probabilities": network.output,
    }
    model = keras.Model(network.input, outputs)
    return Trained("breast-cancer", model, "features", test, metrics, {"labels": test.targets})


if __name__ == "__main__":
    sys.exit(runtime.main("breast_cancer", "Train a softmax net on the breast cancer data and export it.", train))
