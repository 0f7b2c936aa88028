"""How fast the drop-in model server is, next to Flask with Keras and to TensorFlow called in process.

`python -m dev.bench.model_server` makes the models, loads each server through a native load generator on the same cores, and prints
a table with the bars that have to be kept. docs/model-server.md says how to read it.
"""
