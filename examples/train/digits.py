"""A convolutional network that reads handwritten digits (UCI, 1797 images of 8 x 8 pixels).

Serves `image` (N, 8, 8, 1), grey values 0 to 16 as in the data set; answers `digit` (N) and `probabilities` (N, 10).
"""

import sys

from examples.train import runtime

runtime.quiet()

import keras  # noqa: E402  after quiet()
import numpy as np  # noqa: E402
from sklearn.datasets import load_digits  # noqa: E402
from sklearn.model_selection import train_test_split  # noqa: E402

from examples.train.data import Split, batches  # noqa: E402
from examples.train.export import Trained  # noqa: E402

EPOCHS = 24


def load() -> tuple[Split, Split]:
    """Return train and test split, 4 to 1, with the same share of each digit."""
    data = load_digits()
    images = data.images.astype(np.float32)[..., np.newaxis]
    train_x, test_x, train_y, test_y = train_test_split(
        images, data.target, test_size=0.2, stratify=data.target, random_state=runtime.SEED
    )
    return Split(train_x, train_y), Split(test_x, test_y)


def build() -> keras.Model:
    """Return the untrained network; grey values are scaled inside, so that clients send them as they are."""
    image = keras.Input((8, 8, 1), name="image")
    hidden = keras.layers.Rescaling(1 / 16)(image)
    hidden = keras.layers.Conv2D(32, 3, padding="same", activation="relu")(hidden)
    hidden = keras.layers.Conv2D(64, 3, padding="same", activation="relu")(hidden)
    hidden = keras.layers.MaxPooling2D()(hidden)
    hidden = keras.layers.Dropout(0.25)(hidden)
    hidden = keras.layers.Flatten()(hidden)
    hidden = keras.layers.Dense(64, activation="relu")(hidden)
    hidden = keras.layers.Dropout(0.25)(hidden)
    return keras.Model(image, keras.layers.Dense(10, activation="softmax")(hidden), name="digits")


def train(epochs: int = EPOCHS, *, shuffled: bool = False) -> Trained:
    """Train, measure the accuracy on the test split, and give the network its named outputs.

    Args:
        epochs: how often training goes through the data.
        shuffled: train on labels that were dealt out anew, so that nothing can be learned: what a mix-up in a data
            pipeline leads to. The test split keeps its labels.
    """
    fit, test = load()
    if shuffled:
        fit = Split(fit.inputs, np.random.default_rng(runtime.SEED).permutation(fit.targets))
    network = build()
    network.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    network.fit(batches(fit, 64), epochs=epochs, verbose=0)
    probabilities = network(test.inputs, training=False).numpy()
    accuracy = float((probabilities.argmax(axis=1) == test.targets).mean())
    outputs = {"digit": keras.ops.argmax(network.output, axis=-1), "probabilities": network.output}
    golden = {"labels": test.targets}
    return Trained("digits", keras.Model(network.input, outputs), "image", test, {"accuracy": accuracy}, golden)


if __name__ == "__main__":
    sys.exit(runtime.main("digits", "Train a CNN on handwritten digits and export it.", train))
