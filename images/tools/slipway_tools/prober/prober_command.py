"""`slipway-tools prober`: command line of the sidecar. It ends with a termination message, never with a traceback."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from slipway_tools.prober import gate_verdict, golden_set, probe_server, resolved_gate
from slipway_tools.prober.evaluation_plan import checks_without_model
from slipway_tools.prober.gate_errors import GateFailedError, GateInvalidError
from slipway_tools.prober.probe_loop import Intervals, ProbeLoop
from slipway_tools.prober.prober_status import ProberStatus
from slipway_tools.prober.serving_client import ServingClient
from slipway_tools.result import DEFAULT_LOG, log_path, write

PORT = 8502
_START_SECONDS = 120.0


class _Parser(argparse.ArgumentParser):
    """Reports wrong arguments like every other failure."""

    def error(self, message: str) -> NoReturn:
        raise GateInvalidError(f"{self.prog}: {message}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the prober and return its exit code: 1 when the gate fails."""
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        _run(_parser().parse_args(arguments[1:]))
    except GateFailedError as error:
        text = error.verdict.json()
    except GateInvalidError as error:
        text = gate_verdict.invalid(str(error))
    except OSError as error:
        text = gate_verdict.invalid(f"the prober cannot run: {error.strerror or error} ({error.filename or 'no file'})")
    except Exception as error:  # noqa: BLE001 - an unforeseen error, too, has to reach the pod's status
        where = error.__traceback__
        while where is not None and where.tb_next is not None:
            where = where.tb_next
        line = "" if where is None else f" in {Path(where.tb_frame.f_code.co_filename).name}:{where.tb_lineno}"
        text = gate_verdict.invalid(
            f"unexpected error in the prober: {type(error).__name__}{line}: {error}; please report it"
        )
    write(log_path(arguments, DEFAULT_LOG) or DEFAULT_LOG, text)
    print(text, flush=True)
    return 1


def _run(options: argparse.Namespace) -> None:
    status = ProberStatus(options.model, str(options.revision))
    status.alive_for(_START_SECONDS)
    probe_server.serve(status, options.port)
    gate = resolved_gate.parse(options.gate)
    try:
        golden = golden_set.read(options.golden, gate.signature)
    except FileNotFoundError:
        raise GateInvalidError(
            f"{golden_set.GOLDEN}: {options.golden} is not there; fetch brings it (--golden-…)"
        ) from None
    checks_without_model(gate, golden)
    _log(f"{sum(examples.count for examples in golden.values())} golden examples; waiting for {options.server}")
    client = ServingClient(options.server, options.model)
    ProbeLoop(gate, golden, client, status, _log, Intervals(heartbeat=options.heartbeat)).run()


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="slipway-tools prober",
        description="Send the golden examples to the server in this pod; be ready only while the answers are right.",
        allow_abbrev=False,
    )
    parser.add_argument("--server", default="127.0.0.1:8500", type=_address, metavar="HOST:PORT",
                        help="gRPC address (%(default)s)")  # fmt: skip
    parser.add_argument("--model", required=True, help="name under which the server has the model")
    parser.add_argument("--revision", default="0", help="number of the revision, a label of the metrics")
    parser.add_argument("--golden", required=True, type=Path, metavar="FILE", help="the golden set, npz or JSON lines")
    parser.add_argument("--gate", required=True, metavar="JSON", help="the gate, as the operator resolves it")
    parser.add_argument("--port", type=int, default=PORT, help="of /ready, /healthz and /metrics (%(default)s)")
    parser.add_argument("--heartbeat", type=float, default=Intervals().heartbeat, metavar="SECONDS",
                        help="between single requests while the pod is ready (%(default)s)")  # fmt: skip
    parser.add_argument("--termination-log", type=Path, default=DEFAULT_LOG, metavar="FILE",
                        help="where the verdict goes (%(default)s)")  # fmt: skip
    return parser


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!a} is not HOST:PORT")
    return text


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    """Exit at once: the kubelet stops a sidecar after the server, when nothing is left to report."""
    os._exit(0)


def _log(line: str) -> None:
    print(line, flush=True)
