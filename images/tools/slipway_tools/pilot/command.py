"""`slipway-tools pilot`: command line of the sidecar. Its last word is a verdict as termination message, never a traceback."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from slipway_tools.pilot import gate, goldenset, verdict, web
from slipway_tools.pilot.binding import without_model
from slipway_tools.pilot.client import Client
from slipway_tools.pilot.errors import GateFailedError, GateInvalidError
from slipway_tools.pilot.loop import Loop, Rhythm
from slipway_tools.pilot.state import State
from slipway_tools.result import DEFAULT_LOG, log_path, write

PORT = 8502
_START_SECONDS = 120.0


class _Parser(argparse.ArgumentParser):
    """Reports wrong arguments like every other failure."""

    def error(self, message: str) -> NoReturn:
        raise GateInvalidError(f"{self.prog}: {message}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the pilot and return its exit code: 1 when the gate does not hold."""
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        _run(_parser().parse_args(arguments[1:]))
    except GateFailedError as error:
        text = error.verdict.json()
    except GateInvalidError as error:
        text = verdict.invalid(str(error))
    except OSError as error:
        text = verdict.invalid(f"the pilot cannot run: {error.strerror or error} ({error.filename or 'no file'})")
    except Exception as error:  # noqa: BLE001 - the last resort of a program whose only voice is its exit message
        where = error.__traceback__
        while where is not None and where.tb_next is not None:
            where = where.tb_next
        line = "" if where is None else f" in {Path(where.tb_frame.f_code.co_filename).name}:{where.tb_lineno}"
        text = verdict.invalid(
            f"the pilot met something unforeseen: {type(error).__name__}{line}: {error}; please report it"
        )
    write(log_path(arguments, DEFAULT_LOG) or DEFAULT_LOG, text)
    print(text, flush=True)
    return 1


def _run(options: argparse.Namespace) -> None:
    state = State(options.model, str(options.revision))
    state.alive_for(_START_SECONDS)
    web.serve(state, options.port)
    parsed = gate.parse(options.gate)
    try:
        golden = goldenset.read(options.golden, parsed.signature)
    except FileNotFoundError:
        raise GateInvalidError(
            f"{goldenset.GOLDEN}: {options.golden} is not there; fetch brings it (--golden-…)"
        ) from None
    without_model(parsed, golden)
    _log(f"{sum(examples.count for examples in golden.values())} golden examples; waiting for {options.server}")
    client = Client(options.server, options.model)
    Loop(parsed, golden, client, state, _log, Rhythm(heartbeat=options.heartbeat)).run()


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="slipway-tools pilot",
        description="Ask the server beside it for the golden answers; be ready only while they are right.",
        allow_abbrev=False,
    )
    parser.add_argument("--server", default="127.0.0.1:8500", type=_address, metavar="HOST:PORT",
                        help="gRPC address (%(default)s)")  # fmt: skip
    parser.add_argument("--model", required=True, help="name under which the server has the model")
    parser.add_argument("--revision", default="0", help="number of the revision, a label of the metrics")
    parser.add_argument("--golden", required=True, type=Path, metavar="FILE", help="the golden set, npz or JSON lines")
    parser.add_argument("--gate", required=True, metavar="JSON", help="spec.rollout.gate, in camelCase")
    parser.add_argument("--port", type=int, default=PORT, help="of /ready, /healthz and /metrics (%(default)s)")
    parser.add_argument("--heartbeat", type=float, default=Rhythm().heartbeat, metavar="SECONDS",
                        help="between single examples while it serves (%(default)s)")  # fmt: skip
    parser.add_argument("--termination-log", type=Path, default=DEFAULT_LOG, metavar="FILE",
                        help="where the verdict goes (%(default)s)")  # fmt: skip
    return parser


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!a} is not HOST:PORT")
    return text


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    """Leave at once: the kubelet ends a sidecar after the server, there is nothing left to say."""
    os._exit(0)


def _log(line: str) -> None:
    print(line, flush=True)
