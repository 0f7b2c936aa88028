"""The main job: from a bare machine to a trained model that answers on Kubernetes (`python -m dev.demo up`)."""
