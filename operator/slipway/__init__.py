"""Slipway: a Kubernetes operator that puts TensorFlow models into service.

The rooms and what each may import are described in docs/architecture.md and checked by import-linter.
"""

__version__ = "0.1.0"
