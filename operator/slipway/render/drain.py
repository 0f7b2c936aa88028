"""How a pod leaves service without dropping a request: one formula for the server's flags and the pod's lifecycle.

TensorFlow Serving does not handle SIGTERM: as process 1 it ignores it and is killed at the end of the grace period. So
the pod goes on serving while it is `Terminating`, held by a preStop `sleep`, until nobody sends to it any more:

1. Its address leaves Services and DNS. New connections through the Service go elsewhere after `PROPAGATION_SECONDS`.
2. Connections that clients already have end by age, after at most 1.1 * `AGE_SECONDS` (gRPC varies the age by 10 %):
   the server says GOAWAY, calls under way finish, the client connects anew. Through the Service it reaches another pod.
3. A client of the headless Service balances by itself and keeps trying the address until it has asked DNS again.
   The answer may be `RESOLVER_SECONDS` old, and gRPC lets as much time pass between two questions.
4. The last call that reached the pod takes at most `CALL_SECONDS`.

    sleep = max(PROPAGATION + 1.1 * AGE, 2 * RESOLVER) + CALL          grace period = sleep + STOP

`STOP_SECONDS` is for a server that does handle SIGTERM. Longer calls than `CALL_SECONDS` are cut only when their pod goes
away; `AGE_GRACE_SECONDS` lets them outlive the age of their connection otherwise.
"""

import math

PROPAGATION_SECONDS = 5
AGE_SECONDS = 25
RESOLVER_SECONDS = 30
CALL_SECONDS = 15
STOP_SECONDS = 5
AGE_GRACE_SECONDS = 120

_AGE_JITTER = 1.1
_MILLIS = 1000


def sleep_seconds() -> int:
    """Return how long the preStop hook holds the pod in service."""
    connections = math.ceil(PROPAGATION_SECONDS + _AGE_JITTER * AGE_SECONDS)
    return max(connections, 2 * RESOLVER_SECONDS) + CALL_SECONDS


def grace_seconds() -> int:
    """Return terminationGracePeriodSeconds: after it the kubelet kills."""
    return sleep_seconds() + STOP_SECONDS


def channel_arguments(added: str | None) -> str:
    """Return the value of `--grpc_channel_arguments`, behind what the user added."""
    ours = (
        f"grpc.max_connection_age_ms={AGE_SECONDS * _MILLIS},"
        f"grpc.max_connection_age_grace_ms={AGE_GRACE_SECONDS * _MILLIS}"
    )
    return f"{added},{ours}" if added else ours
