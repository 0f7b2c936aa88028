"""The last step of every training program: a SavedModel with warm-up requests, and the test split beside it.

TensorFlow is imported by the callers, after `runtime.quiet()`; nothing here trains.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from examples.train.data import Array, Split

WARMUP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"
"""Where a server looks for requests that it answers before it opens its ports."""
GOLDEN_FILE = Path("assets.extra") / "golden.npz"
"""Where the golden set lies inside the model, for `rollout.gate.golden.path`."""
GOLDEN_EXAMPLES = 200
"""Enough to measure an accuracy to a few percent, and small enough for a ConfigMap."""


@dataclass(frozen=True)
class Trained:
    """A trained model and how it did.

    Attributes:
        name: name of the model, as clients will address it.
        model: Keras model whose only input is named `input_name` and whose output is a dict of named tensors.
        test: the examples that training never saw.
        metrics: what was measured on `test`.
        golden: what is right for the examples of `test`, by its name in a golden set: `labels` (N) or `outputs/NAME`
            (N, …).
    """

    name: str
    model: Any
    input_name: str
    test: Split
    metrics: Mapping[str, float]
    golden: Mapping[str, Array]


def export(trained: Trained, root: Path, version: int) -> Path:
    """Write `root/version` (SavedModel, warm-up requests, golden set) and what was measured or is tested, beside it.

    That is `root/metrics.json`, `root/test.npz` and another copy of the golden set, `root/golden.npz`. Returns the
    version folder. A version that exists already is replaced as a whole, by a rename.
    """
    root.mkdir(parents=True, exist_ok=True)
    target, partial = root / str(version), root / f".{version}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    trained.model.export(str(partial), format="tf_saved_model", verbose=False)
    write_warmup(partial / WARMUP_FILE, trained.name, {trained.input_name: trained.test.inputs[:4]})
    write_golden(partial / GOLDEN_FILE, trained)
    shutil.copy(partial / GOLDEN_FILE, root / GOLDEN_FILE.name)
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
    np.savez_compressed(root / "test.npz", inputs=trained.test.inputs, targets=trained.test.targets)
    facts = {"model": trained.name, "version": version, "testExamples": len(trained.test), **trained.metrics}
    (root / "metrics.json").write_text(json.dumps(facts, indent=2) + "\n")
    return target


def write_golden(path: Path, trained: Trained) -> None:
    """Write the first GOLDEN_EXAMPLES of the test split as a golden set: inputs, and what is right for them."""
    arrays = {f"inputs/{trained.input_name}": trained.test.inputs, **trained.golden}
    content: dict[str, Any] = {name: values[:GOLDEN_EXAMPLES] for name, values in arrays.items()}
    np.savez_compressed(path, **content)


def write_warmup(path: Path, model: str, inputs: Mapping[str, Array]) -> None:
    """Record two Predict requests, one example and all of `inputs` together, in TensorFlow Serving's own format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for count in (1, len(next(iter(inputs.values())))):
            log = prediction_log_pb2.PredictionLog()
            request = log.predict_log.request
            request.model_spec.name = model
            request.model_spec.signature_name = "serving_default"
            for name, values in inputs.items():
                request.inputs[name].CopyFrom(tf.make_tensor_proto(values[:count]))
            writer.write(log.SerializeToString())
