"""A drop-in `tensorflow_model_server`: TensorFlow Serving's interface, on the TensorFlow wheel's C library.

Start: `__main__` calls `lifecycle`, which reads `config`, lets `models` load what is configured, then opens the ports of
`grpc_api` and `rest`, and shuts all down at SIGTERM. A request goes from a port to `service` (both protocols) and `inference`
(messages in and out), which takes a loaded version from `models` and runs it: through `batching`, if that is on, in `runtime`
(libtensorflow) or `tflite`. Packages import in one direction only; `images/model-server/importlinter.toml` has their order.
"""

#: The release of TensorFlow Serving whose interface is kept.
SERVING_VERSION = "2.20.0"
