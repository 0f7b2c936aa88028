"""Makes the models of these tests with the real TensorFlow: `python make_models.py DIRECTORY`.

A process of its own, because the tests themselves speak to the server with generated stubs only, and because TensorFlow takes
seconds and half a gigabyte.
"""

import importlib.util
import os
import shutil
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

sys.path.append(str(Path(__file__).resolve().parents[2]))

import keras
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from tests.model_server import make_lite_models

# fmt: off
IDENTITY_TYPES = (
    "float32", "float64", "float16", "bfloat16", "complex64", "complex128", "bool", "string",
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
)
# fmt: on


def half_plus_two(directory: Path) -> None:
    """The classic of TensorFlow Serving as a TF1 graph, with plain tensor names."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        slope = v1.get_variable("a", initializer=0.5, use_resource=False)
        offset = v1.get_variable("b", initializer=2.0, use_resource=False)
        x = v1.placeholder(tf.float32, [None, 1], name="x")
        y = tf.add(tf.multiply(slope, x), offset, name="y")
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(directory))
        signature = v1.saved_model.signature_def_utils.predict_signature_def({"x": x}, {"y": y})
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature})
        builder.save()


def examples(directory: Path) -> None:
    """Half plus two on tf.Examples, as the estimators of TF1 exported it, with a signature for each fault.

    y = x / 2 + 2 + bias; `bias` is meant to come from the context.
    """
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        slope = v1.get_variable("a", initializer=0.5, use_resource=False)
        serialized = v1.placeholder(tf.string, [None], name="tf_example")
        columns = {name: tf.io.FixedLenFeature([1], tf.float32, default_value=[0.0]) for name in ("x", "bias")}
        columns["words"] = tf.io.VarLenFeature(tf.string)
        columns["counts"] = tf.io.VarLenFeature(tf.int64)
        parsed = tf.io.parse_example(serialized, columns)
        y = tf.add(slope * parsed["x"] + 2.0, parsed["bias"], name="y")
        flat = tf.reshape(y, [-1])
        total = tf.cast(tf.reduce_sum(tf.sparse.to_dense(parsed["counts"]), axis=1), tf.float32)
        scores = tf.concat([y, -y], axis=1)
        classes = tf.tile([["high", "low"]], [tf.shape(y)[0], 1])
        words = tf.sparse.to_dense(parsed["words"], default_value="")
        info = v1.saved_model.build_tensor_info

        def signature(method: str, outputs: dict[str, Any], **inputs: Any) -> Any:
            return v1.saved_model.signature_def_utils.build_signature_def(
                {name: info(tensor) for name, tensor in (inputs or {"inputs": serialized}).items()},
                {name: info(tensor) for name, tensor in outputs.items()},
                f"tensorflow/serving/{method}",
            )

        signatures = {
            "serving_default": signature("regress", {"outputs": y}),
            "flat": signature("regress", {"outputs": flat}),
            "counts": signature("regress", {"outputs": total}),
            "classify": signature("classify", {"classes": classes, "scores": scores}),
            "only_scores": signature("classify", {"scores": scores}),
            "only_classes": signature("classify", {"classes": classes}),
            "words": signature("classify", {"classes": words}),
            "by_name": signature("predict", {"outputs": y}),
            "two_inputs": signature("regress", {"outputs": y}, inputs=serialized, more=serialized),
            "other_input": signature("regress", {"outputs": y}, examples=serialized),
            "other_output": signature("regress", {"y": y}),
            "no_classes": signature("classify", {"y": y}),
            "three_outputs": signature("classify", {"classes": classes, "scores": scores, "y": y}),
            "double": signature("regress", {"outputs": tf.cast(y, tf.float64)}),
            "wide": signature("regress", {"outputs": scores}),
            "short": signature("regress", {"outputs": tf.constant([1.0, 2.0, 3.0])}),
            "flat_scores": signature("classify", {"scores": flat}),
            "text_scores": signature("classify", {"scores": classes}),
            "number_classes": signature("classify", {"classes": scores}),
            "uneven": signature("classify", {"classes": classes, "scores": y}),
            "long_scores": signature("classify", {"scores": tf.concat([scores, scores], axis=0)}),
        }
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(directory))
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()


class Kitchen(tf.Module):
    """One signature for each thing to be tested."""

    def __init__(self) -> None:
        self.slope = tf.Variable(0.5)
        self.weights = tf.Variable([[1.0], [2.0], [3.0]])

    @tf.function
    def half(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": self.slope * x + 2.0}

    @tf.function
    def text(self, s: tf.Tensor) -> dict[str, tf.Tensor]:
        joined = tf.strings.join([s, s])
        return {"joined": joined, "joined_bytes": joined}

    @tf.function
    def pair(self, a: tf.Tensor, b: tf.Tensor) -> dict[str, tf.Tensor]:
        b = tf.cast(b, tf.float32)
        return {"sum": a + b, "product": a * b}

    @tf.function
    def matrix(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": tf.matmul(x, self.weights)}

    @tf.function
    def total(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"total": tf.reduce_sum(x)}

    @tf.function
    def ragged(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"whole": x, "first": x[:1]}

    @tf.function
    def slow(self, n: tf.Tensor) -> dict[str, tf.Tensor]:
        """About a microsecond and more for each step, and nothing that can be folded away."""

        def step(index: tf.Tensor, value: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return index + 1, value + tf.reduce_sum(tf.random.normal([64])) * 0.0

        return {"steps": tf.while_loop(lambda i, _: i < n, step, (tf.constant(0, tf.int64), tf.constant(0.0)))[0]}

    @tf.function
    def batch_slow(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        """Slow like `slow`, but with a batch dimension; the steps are the largest value of the batch."""
        steps = self.slow(tf.cast(tf.reduce_max(x), tf.int64))["steps"]
        return {"y": x + 0.0 * tf.cast(steps, tf.float32)}


def kitchen(directory: Path) -> None:
    module = Kitchen()
    spec = tf.TensorSpec
    vector = spec([None], tf.float32, name="x")
    signatures = {
        "serving_default": module.half.get_concrete_function(vector),
        "text": module.text.get_concrete_function(spec([None], tf.string, name="s")),
        "pair": module.pair.get_concrete_function(spec([None], tf.float32, name="a"), spec([None], tf.int64, name="b")),
        "matrix": module.matrix.get_concrete_function(spec([None, 3], tf.float32, name="x")),
        "total": module.total.get_concrete_function(vector),
        "ragged": module.ragged.get_concrete_function(vector),
        "slow": module.slow.get_concrete_function(spec([], tf.int64, name="n")),
        "batch_slow": module.batch_slow.get_concrete_function(vector),
    }
    for name in IDENTITY_TYPES:
        function = tf.function(lambda x: {"x": tf.identity(x)})
        signatures[f"identity_{name}"] = function.get_concrete_function(spec(None, tf.as_dtype(name), name="x"))
    tf.saved_model.save(module, str(directory), signatures=signatures)


def vocabulary(directory: Path) -> None:
    """A TF1 graph with an asset, a table that an op has to fill at load, and a default signature from its collection."""
    v1 = tf.compat.v1
    words = directory.parent.parent / "words.txt"
    words.write_text("zero\none\ntwo\n")
    with tf.Graph().as_default(), v1.Session() as session:
        asset = tf.constant(str(words), name="words")
        initializer = tf.lookup.TextFileInitializer(
            asset, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
        )
        table = tf.lookup.StaticHashTable(initializer, default_value=-1)
        word = v1.placeholder(tf.string, [None], name="word")
        number = table.lookup(word)
        session.run(v1.tables_initializer())
        builder = v1.saved_model.Builder(str(directory))
        signature = v1.saved_model.signature_def_utils.predict_signature_def({"word": word}, {"number": number})
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            {"serving_default": signature},
            assets_collection=v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
            main_op=v1.tables_initializer(),
        )
        builder.save()
    words.unlink()


def audio(directory: Path) -> None:
    """A model with an operation that TensorFlow itself lacks: its library lies in the wheel, beside it."""
    from tensorflow.lite.experimental.microfrontend.python.ops import audio_microfrontend_op  # noqa: PLC0415

    module = tf.Module()
    module.serve = tf.function(lambda a: {"frames": audio_microfrontend_op.audio_microfrontend(a, out_type=tf.float32)})
    signature = module.serve.get_concrete_function(tf.TensorSpec([None], tf.int16, name="a"))
    tf.saved_model.save(module, str(directory), signatures={"serving_default": signature})


def text(directory: Path) -> None:
    """Strings in, tokens out, with TensorFlow Text, where that is installed."""
    if importlib.util.find_spec("tensorflow_text") is None:
        return
    import tensorflow_text  # noqa: PLC0415

    module = tf.Module()
    tokenizer = tensorflow_text.WhitespaceTokenizer()
    module.serve = tf.function(
        lambda s: {"tokens": tokenizer.tokenize(tensorflow_text.case_fold_utf8(s)).to_tensor(default_value="")}
    )
    signature = module.serve.get_concrete_function(tf.TensorSpec([None], tf.string, name="s"))
    tf.saved_model.save(module, str(directory), signatures={"serving_default": signature})


def digits(directory: Path) -> None:
    """A small Keras model, exported as Keras 3 exports it."""
    keras.utils.set_random_seed(7)
    model = keras.Sequential(
        [
            keras.layers.Input((8, 8, 1), name="image"),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.export(str(directory), verbose=False)
    np.save(directory.parent.parent / "digits_expected.npy", model(np.ones((2, 8, 8, 1), np.float32)).numpy())


def warm(source: Path, directory: Path, *, value: float | str, records: int = 2) -> None:
    """A copy of a model with recorded requests for x = [value]."""
    shutil.copytree(source, directory)
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "half"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([[value]]))
    log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
    extra = directory / "assets.extra"
    extra.mkdir()
    with tf.io.TFRecordWriter(str(extra / "tf_serving_warmup_requests")) as writer:
        for _ in range(records):
            writer.write(log.SerializeToString())


def main(target: Path) -> None:
    half_plus_two(target / "half" / "1")
    kitchen(target / "kitchen" / "1")
    digits(target / "digits" / "1")
    examples(target / "examples" / "1")
    make_lite_models.lite(target)
    vocabulary(target / "vocabulary" / "1")
    audio(target / "audio" / "1")
    text(target / "text" / "1")
    warm(target / "half" / "1", target / "warm" / "1", value=4.0)
    warm(target / "half" / "1", target / "warm_bad" / "1", value="not a number")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
