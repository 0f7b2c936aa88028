"""A drop-in `tensorflow_model_server`: TensorFlow Serving's interface, on the TensorFlow wheel's C library.

Flow: `__main__` -> `lifecycle` (flags -> `manager` makes a `served` model of each configured one, which loads its versions with
`loader` -> `grpc_server` and `http_server` open their ports -> shutdown at SIGTERM). A request goes `grpc_server`, or `http_server`
and `rest_api` -> `predict` or `inference` -> `manager` (which version) -> `servable` -> `batching` -> `capi` (libtensorflow) or
`tflite`. `reload` changes what is served.
"""

#: The release of TensorFlow Serving whose interface is kept.
SERVING_VERSION = "2.20.0"
