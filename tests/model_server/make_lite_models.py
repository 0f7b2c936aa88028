"""Makes TFLite models, some with the signatures of TensorFlow Serving in the file; see make_models.py."""

from pathlib import Path
from typing import Any

import flatbuffers  # type: ignore[import-untyped]  # it ships neither annotations nor stubs
import tensorflow as tf
from flatbuffers import flexbuffers
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow.lite.python import schema_py_generated as schema


def lite(directory: Path) -> None:
    """TFLite models: half plus two with TensorFlow Serving's signatures in the file, and others without."""
    function = tf.function(lambda x: {"y": x * 0.5 + 2.0})
    vector = tf.TensorSpec([None, 1], tf.float32, name="x")
    plain = converted(function, vector)
    write(directory / "lite_plain" / "1" / "model.tflite", plain)
    signature = meta_graph_pb2.SignatureDef(method_name="tensorflow/serving/predict")
    interpreter = tf.lite.Interpreter(model_content=plain)
    for details, infos in (
        (interpreter.get_input_details()[0], signature.inputs["x"]),
        (interpreter.get_output_details()[0], signature.outputs["y"]),
    ):
        infos.name, infos.dtype = details["name"], 1
        for size in (-1, 1):
            infos.tensor_shape.dim.add(size=size)
    write(
        directory / "lite" / "1" / "model.tflite",
        with_signatures(plain, {"serving_default": signature, "other": signature}),
    )
    unknown = meta_graph_pb2.SignatureDef()
    unknown.CopyFrom(signature)
    unknown.inputs["x"].name = "nobody:0"
    write(directory / "lite_unknown" / "1" / "model.tflite", with_signatures(plain, {"serving_default": unknown}))
    text = tf.function(lambda s: {"t": tf.identity(s)})
    write(directory / "lite_text" / "1" / "model.tflite", converted(text, tf.TensorSpec([None], tf.string, name="s")))
    pair = tf.function(lambda a, b: {"sum": a + tf.cast(b, tf.float32), "b": b + 1})
    specs = (tf.TensorSpec([None], tf.float32, name="a"), tf.TensorSpec([None], tf.int32, name="b"))
    write(directory / "lite_pair" / "1" / "model.tflite", converted(pair, *specs))


def converted(function: Any, *specs: tf.TensorSpec) -> bytes:
    content: bytes = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function(*specs)]).convert()
    return content


class Raw:
    """Bytes for FlexBuffers' string, which C++ writes as they are and Python as UTF-8."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def encode(self, _encoding: str) -> bytes:
        return self._data


def with_signatures(content: bytes, signatures: dict[str, meta_graph_pb2.SignatureDef]) -> bytes:
    """The model with an entry `signature_defs_metadata`, as TensorFlow's own tool writes it."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))
    builder = flexbuffers.Builder()
    with builder.Map():
        for name, signature in sorted(signatures.items()):
            builder.Key(name)
            builder.String(Raw(signature.SerializeToString()))
    data = bytes(builder.Finish())
    buffer = schema.BufferT()
    buffer.data = list(data)
    model.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name, entry.buffer = "signature_defs_metadata", len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), entry]
    packed = flatbuffers.Builder(len(content))
    packed.Finish(model.Pack(packed), b"TFL3")
    return bytes(packed.Output())


def write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
