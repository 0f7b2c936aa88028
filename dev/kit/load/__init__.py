"""Open-loop gRPC load on a model: the generator, its control from a test, and what is observed meanwhile."""
