"""tensorflow.ProfilerService, and TensorFlow's profiler behind it."""
