"""TFLite models, with the interpreter of the TensorFlow wheel."""
