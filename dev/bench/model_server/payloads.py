"""The same inputs in the three forms in which they are sent: NumPy, PredictRequest, JSON."""

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[3] / "images" / "model-server"))
from model_server.protobuf.generated import predict_pb2, tensor_pb2

INPUTS: dict[str, tuple[str, tuple[int, ...]]] = {
    "digits": ("image", (8, 8, 1)),
    "dense": ("vector", (1000,)),
    "regression": ("features", (10,)),
}
"""Of each model, the input's name and the shape of one example."""
_FLOAT = 1


@dataclass(frozen=True)
class Payload:
    """One request for a model, in files: `array` (.npy), `proto` (PredictRequest), `document` (JSON, row form)."""

    array: Path
    proto: Path
    document: Path


def write(folder: Path, model: str, batch: int) -> Payload:
    """Write a request of `batch` examples, float32 between 0 and 1 with four decimals, always the same ones."""
    name, shape = INPUTS[model]
    count = batch * math.prod(shape)
    values = (np.random.default_rng(20).integers(0, 10_000, count) / 10_000).astype(np.float32).reshape(batch, *shape)
    payload = Payload(*(folder / f"{model}-{batch}.{suffix}" for suffix in ("npy", "pb", "json")))
    np.save(payload.array, values)
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    tensor = tensor_pb2.TensorProto(dtype=_FLOAT, tensor_content=values.tobytes())
    for size in values.shape:
        tensor.tensor_shape.dim.add(size=size)
    request.inputs[name].CopyFrom(tensor)
    payload.proto.write_bytes(request.SerializeToString())
    # As short as the numbers are: what a client sends, and what costs the servers as little as it can.
    instances = [[round(float(number), 4) for number in row] for row in values.reshape(batch, -1)]
    payload.document.write_text(json.dumps({"instances": np.array(instances).reshape(values.shape).tolist()}))
    return payload
