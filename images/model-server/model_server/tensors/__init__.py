"""Tensors on the host and their data types."""
