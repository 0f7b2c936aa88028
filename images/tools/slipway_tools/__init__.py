"""The tools image: fetches a model into a pod, publishes one into a volume, prints digests."""

__version__ = "0.1.0"
