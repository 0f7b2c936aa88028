"""The REST port: HTTP, the routes of the API, and JSON as TensorFlow Serving reads and writes it."""
