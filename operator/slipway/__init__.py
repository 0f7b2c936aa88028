"""Slipway: a Kubernetes operator that puts TensorFlow models into service.

docs/architecture.md describes the packages; import-linter checks which may import which.
"""

__version__ = "0.1.0"
