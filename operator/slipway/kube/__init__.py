"""The only package that uses a Kubernetes client: requests and their errors, informers, cache, leader election, Events.

- `transport` logs in and sends one HTTP request, bounded, timed and counted; `client` has the verbs.
- `cache` holds what was observed last; `informer` and `kopf_informer` fill it and enqueue what changed.
- `verification` knows which ModelDeployments this process has read itself.
- `lease` elects the leader; `recorder` records Kubernetes Events.
"""

from slipway.kube.cache import Cache
from slipway.kube.client import Client, Fence
from slipway.kube.errors import (
    ApiError,
    ConflictError,
    NamespaceEndsError,
    NotFoundError,
    RejectedError,
    ResourceExpiredError,
    RetryableError,
)
from slipway.kube.transport import Credentials, Meter, Transport

__all__ = [
    "ApiError",
    "Cache",
    "Client",
    "ConflictError",
    "Credentials",
    "Fence",
    "Meter",
    "NamespaceEndsError",
    "NotFoundError",
    "RejectedError",
    "ResourceExpiredError",
    "RetryableError",
    "Transport",
]
