"""Makes the models of the prober's tests with the real TensorFlow: `python make_models.py DIRECTORY`."""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import tensorflow as tf


class Zoo(tf.Module):
    """One signature for each thing that a gate may meet; the default one answers half of x plus 3, not plus 2."""

    @tf.function
    def off_by_one(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": x / 2 + 3}

    @tf.function
    def picky(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.control_dependencies([tf.debugging.assert_less(x, 100.0, message="too large for this model")]):
            return {"y": tf.identity(x)}

    @tf.function
    def scores(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {
            "half": tf.cast(tf.nn.softmax(x), tf.float16),
            "brain": tf.cast(tf.nn.softmax(x), tf.bfloat16),
            "logits": x,
        }

    @tf.function
    def logarithm(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": tf.math.log(x)}

    @tf.function
    def fixed(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": x + 1}

    @tf.function
    def chance(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"p": tf.sigmoid(x)}

    @tf.function
    def total(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": tf.reduce_sum(x)}

    @tf.function
    def long(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": tf.tile(x, [1, 20])}


def main(target: Path) -> None:
    zoo = Zoo()
    spec = tf.TensorSpec
    column, row = spec([None, 1], tf.float32, name="x"), spec([None, 4], tf.float32, name="x")
    signatures = {
        "serving_default": zoo.off_by_one.get_concrete_function(column),
        "picky": zoo.picky.get_concrete_function(column),
        "scores": zoo.scores.get_concrete_function(row),
        "logarithm": zoo.logarithm.get_concrete_function(column),
        "fixed": zoo.fixed.get_concrete_function(spec([2, 1], tf.float32, name="x")),
        "chance": zoo.chance.get_concrete_function(column),
        "total": zoo.total.get_concrete_function(column),
        "long": zoo.long.get_concrete_function(row),
    }
    tf.saved_model.save(zoo, str(target / "zoo" / "1"), signatures=signatures)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
