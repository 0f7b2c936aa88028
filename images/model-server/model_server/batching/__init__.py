"""Server-side batching: a queue for each signature, and the arithmetic of joined tensors."""
