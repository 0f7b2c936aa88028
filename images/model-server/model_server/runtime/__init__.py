"""What runs a graph: libtensorflow, and the interfaces that every way to run a model has."""
