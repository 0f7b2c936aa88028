"""Cluster room: the only one with a Kubernetes client. Its exceptions are the ones of `errors`, nothing else."""

from slipway.cluster.api import Cluster, Fence
from slipway.cluster.connection import Connection, Credentials, Meter
from slipway.cluster.errors import ClusterError, Conflict, Expired, Gone, Refused, TryLater
from slipway.cluster.kinds import CHILD_KINDS

__all__ = [
    "CHILD_KINDS",
    "Cluster",
    "ClusterError",
    "Conflict",
    "Connection",
    "Credentials",
    "Expired",
    "Fence",
    "Gone",
    "Meter",
    "Refused",
    "TryLater",
]
