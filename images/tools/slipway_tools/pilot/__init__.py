"""The gate's sidecar: asks the server beside it for the golden answers, and says whether the pod is ready."""
