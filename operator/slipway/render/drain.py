"""How a pod leaves service without dropping a request: one formula for the server's flags and the pod's lifecycle.

A pod that is `Terminating` goes on serving, held by a preStop `sleep`, until nobody sends to it any more:

1. Its address leaves the Services and the DNS after at most `PROPAGATION_SECONDS`.
2. Through the Service, new connections go elsewhere from then on. Connections that clients have end by age, after at most
   1.1 * `AGE_SECONDS` (gRPC varies the age by 10 %): the server says GOAWAY, calls under way finish, the client connects
   anew and reaches another pod.
3. A client of the headless Service balances by itself and goes back to the same address until it has asked the DNS again.
   An answer may come out of a cache, `DNS_SECONDS` old; and a client that got an old one asks again when a connection has
   ended, but not before `RESOLVER_SECONDS` have passed.

    sleep = PROPAGATION + max(1.1 * AGE, DNS + max(RESOLVER, 1.1 * AGE))
    grace = sleep + CALL + STOP

Then comes SIGTERM, and all that is left are calls under way. A server that handles it (the drop-in) finishes them and ends
within `CALL_SECONDS`. TensorFlow Serving does not: as process 1 it goes on as before and is killed at the end of the grace
period, which is later still. Sleeping less, because the drop-in drains, would lose calls: a server that has said it is
closing refuses what clients sent before they heard of it.

An age above RESOLVER / 1.1 makes headless clients slower; one below it gains nothing for them. Calls longer than
`CALL_SECONDS` are cut only when their pod goes away; `AGE_GRACE_SECONDS` lets them outlive their connection otherwise.
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
    """Return how long the preStop hook holds the pod in service: after it nobody sends to it any more."""
    age = _AGE_JITTER * AGE_SECONDS
    return math.ceil(PROPAGATION_SECONDS + max(age, DNS_SECONDS + max(RESOLVER_SECONDS, age)))


def grace_seconds() -> int:
    """Return terminationGracePeriodSeconds: after it the kubelet kills."""
    return sleep_seconds() + CALL_SECONDS + STOP_SECONDS


def channel_arguments(added: str | None) -> str:
    """Return the value of `--grpc_channel_arguments`, behind what the user added."""
    ours = (
        f"grpc.max_connection_age_ms={AGE_SECONDS * _MILLIS},"
        f"grpc.max_connection_age_grace_ms={AGE_GRACE_SECONDS * _MILLIS}"
    )
    return f"{added},{ours}" if added else ours
