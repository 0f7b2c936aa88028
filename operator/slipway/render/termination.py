"""Graceful termination: one formula for the server's flags and the pod's lifecycle, so that no request is lost.

A pod that is `Terminating` goes on serving, held by a preStop `sleep`, until no client sends to it any more:

1. Its address leaves the endpoints and the DNS after at most `PROPAGATION_SECONDS`.
2. Through the ClusterIP Service, new connections then reach other pods. Existing connections end by age, after at most
   1.1 * `AGE_SECONDS` (gRPC adds a jitter of 10 %): the server sends GOAWAY, calls in flight finish, and the client's next
   connection reaches another pod.
3. A client of the headless Service balances over the addresses of its last DNS answer. That answer may come from a cache,
   `DNS_SECONDS` old; and such a client resolves again when a connection ends, but not before `RESOLVER_SECONDS` have passed.

    sleep = PROPAGATION + max(1.1 * AGE, DNS + max(RESOLVER, 1.1 * AGE))
    grace = sleep + CALL + STOP

Then comes SIGTERM, and only calls in flight are left. A server that handles it (the drop-in) finishes them and exits within
`CALL_SECONDS`. TensorFlow Serving has no handler: as process 1 it goes on as before and is killed at the end of the grace
period, which is later still. A shorter sleep would lose calls even with the drop-in: a server that shuts down refuses what
clients sent before they received its GOAWAY.

An age above RESOLVER / 1.1 makes headless clients slower; one below it gains nothing for them. Calls longer than
`CALL_SECONDS` are cut only when their pod terminates; otherwise `AGE_GRACE_SECONDS` lets them outlive their connection.
"""

import math

PROPAGATION_SECONDS = 5
AGE_SECONDS = 25
DNS_SECONDS = 30
RESOLVER_SECONDS = 30
CALL_SECONDS = 15
STOP_SECONDS = 5
AGE_GRACE_SECONDS = 120

_AGE_JITTER = 1.1
_MILLIS = 1000


def sleep_seconds() -> int:
    """Return how long the preStop hook holds the pod in service; after it no client sends to the pod."""
    age = _AGE_JITTER * AGE_SECONDS
    return math.ceil(PROPAGATION_SECONDS + max(age, DNS_SECONDS + max(RESOLVER_SECONDS, age)))


def grace_seconds() -> int:
    """Return terminationGracePeriodSeconds, after which the kubelet kills the containers."""
    return sleep_seconds() + CALL_SECONDS + STOP_SECONDS


def channel_arguments(added: str | None) -> str:
    """Return the value of `--grpc_channel_arguments`; `added` are the user's arguments, which come first."""
    ours = (
        f"grpc.max_connection_age_ms={AGE_SECONDS * _MILLIS},"
        f"grpc.max_connection_age_grace_ms={AGE_GRACE_SECONDS * _MILLIS}"
    )
    return f"{added},{ours}" if added else ours
