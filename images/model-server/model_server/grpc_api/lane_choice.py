"""Whether Predict takes the fast lane or, like every other method, grpc's public API.

`fast_lane.py` uses names of grpc that are not public, so it is imported only with a release of grpcio that it is tested with, and
only where nobody has switched it off. In every other case the public API serves Predict: the same answers for more CPU.
"""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import grpc

if TYPE_CHECKING:
    from model_server.grpc_api.fast_lane import FastLane, Handler

#: Releases of grpcio that the tests ran with. A new one is added here when requirements/ takes it and the tests pass.
TESTED_RELEASES = ("1.85",)
#: The switch. An environment variable, because the flags are those of the C++ server and no others.
VARIABLE = "MODEL_SERVER_FAST_LANE"
_OFF = ("off", "false", "0")
_log = logging.getLogger(__name__)


def attach(
    server: Any, method: str, handler: "Handler", environment: Mapping[str, str], version: str = grpc.__version__
) -> "FastLane | None":
    """Let `handler` take the calls of `method` from `server`, a grpc.Server before its start.

    None, and one line in the log that says why, where `method` stays with grpc's public API.
    """
    if environment.get(VARIABLE, "").lower() in _OFF:
        _log.info("Predict goes through grpc's public API: %s is off", VARIABLE)
        return None
    if ".".join(version.split(".")[:2]) not in TESTED_RELEASES:
        _log.warning("Predict goes through grpc's public API: the fast lane is not tested with grpcio %s", version)
        return None
    from model_server.grpc_api import fast_lane  # noqa: PLC0415 - its imports may fail with another grpcio

    return fast_lane.attach(server, method, handler)
