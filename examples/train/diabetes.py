"""A regression network: how far diabetes will have progressed in a year (442 patients, 10 measurements each).

Serves `features` (N, 10) in the units of the data set (age in years, body mass index, blood pressure, six blood
values); answers `progression` (N, 1), between 25 and 346.
"""

import sys

from examples.train import runtime

runtime.quiet()

import keras  # noqa: E402  after quiet()
import numpy as np  # noqa: E402
from sklearn.datasets import load_diabetes  # noqa: E402
from sklearn.metrics import mean_absolute_error, r2_score  # noqa: E402
from sklearn.model_selection import train_test_split  # noqa: E402

from examples.train.data import Split, batches  # noqa: E402
from examples.train.export import Trained  # noqa: E402

EPOCHS = 120


def load() -> tuple[Split, Split]:
    """Return train and test split, 4 to 1, with about the same spread of the target in both."""
    data = load_diabetes(scaled=False)
    quartile = np.digitize(data.target, np.quantile(data.target, (0.25, 0.5, 0.75)))
    train_x, test_x, train_y, test_y = train_test_split(
        data.data.astype(np.float32),
        data.target.astype(np.float32),
        test_size=0.2,
        stratify=quartile,
        random_state=runtime.SEED,
    )
    return Split(train_x, train_y), Split(test_x, test_y)


def build(fit: Split) -> keras.Model:
    """Return the untrained network; it carries the mean and spread of inputs and target, so clients need neither."""
    normalise = keras.layers.Normalization()
    normalise.adapt(fit.inputs)
    features = keras.Input((fit.inputs.shape[1],), name="features")
    hidden = keras.layers.Dense(32, activation="relu", kernel_regularizer=keras.regularizers.L2(1e-3))(
        normalise(features)
    )
    hidden = keras.layers.Dropout(0.2)(hidden)
    hidden = keras.layers.Dense(16, activation="relu", kernel_regularizer=keras.regularizers.L2(1e-3))(hidden)
    scaled = keras.layers.Dense(1)(hidden)
    mean, spread = float(fit.targets.mean()), float(fit.targets.std())
    return keras.Model(features, keras.layers.Rescaling(spread, offset=mean)(scaled), name="diabetes")


def train(epochs: int = EPOCHS) -> Trained:
    """Train, and measure R2, the mean absolute error, and that of always answering the mean."""
    fit, test = load()
    network = build(fit)
    network.compile(optimizer=keras.optimizers.Adam(2e-3), loss="mean_squared_error")
    network.fit(batches(fit, 32), epochs=epochs, verbose=0)
    answers = network(test.inputs, training=False).numpy()[:, 0]
    metrics = {
        "r2": float(r2_score(test.targets, answers)),
        "meanAbsoluteError": float(mean_absolute_error(test.targets, answers)),
        "meanAbsoluteErrorOfMean": float(np.abs(test.targets - fit.targets.mean()).mean()),
    }
    model = keras.Model(network.input, {"progression": network.output})
    return Trained("diabetes", model, "features", test, metrics, {"outputs/progression": test.targets[:, np.newaxis]})


if __name__ == "__main__":
    sys.exit(runtime.main("diabetes", "Train a regression network on the diabetes data and export it.", train))
