"""The gate's sidecar: sends the golden examples to the server in its pod, and is ready only while the answers are right."""
