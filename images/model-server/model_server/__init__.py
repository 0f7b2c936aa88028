"""A drop-in `tensorflow_model_server`: TensorFlow Serving's interface, on the TensorFlow wheel's C library.

Flow: `__main__` -> `lifecycle` (flags -> `manager` loads models -> `grpc_server` and `rest` open their ports -> drain at
SIGTERM). A request goes `grpc_server`/`rest` -> `predict` -> `manager` (which version) -> `servable` -> `batching` or
`session` -> `capi` (libtensorflow).
"""

#: The release of TensorFlow Serving whose interface is kept.
SERVING_VERSION = "2.20.0"
