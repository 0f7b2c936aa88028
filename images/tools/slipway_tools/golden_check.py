"""`slipway-tools golden check`: checks a golden set before it is deployed, without any server.

Exit code 0: it fits. 1: it does not, and stderr has the reason and the fix. 2: wrong arguments.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slipway_tools import savedmodel
from slipway_tools.errors import ModelError
from slipway_tools.prober import golden_set, resolved_gate
from slipway_tools.prober.evaluation_plan import build_plans, checks_without_model
from slipway_tools.prober.gate_errors import GateInvalidError
from slipway_tools.prober.serving_client import Signature, signatures_of

_DEFAULT_SIGNATURE = "serving_default"
# A key that only the resolved form has.
_RESOLVED_KEY = "timeoutSeconds"
_GOLDEN = {"path": "golden"}
"""Stands for the file that is checked, where the gate leaves its golden set out."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(list(sys.argv[1:] if argv is None else argv)[1:])
    try:
        _check(options.file, options.gate, options.model)
    except (GateInvalidError, ModelError) as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{error.filename or options.file}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def _check(file: Path, gate_text: str | None, model: Path | None) -> None:
    gate = None if gate_text is None else read_gate(gate_text)
    golden = golden_set.read(file, _DEFAULT_SIGNATURE if gate is None else gate.signature)
    for name, examples in golden.items():
        _describe(name, examples)
    if gate is None:
        print("the golden set can be read; --gate checks it against bounds")
        return
    if model is None:
        checks = checks_without_model(gate, golden)
        for check in checks:
            _bounds(check)
        print("gate and golden set fit; --model checks them against the signatures of a SavedModel")
        return
    for plan in build_plans(gate, golden, _signatures(model)):
        for task in plan.tasks:
            _bounds(task.check)
    print("gate, golden set and model fit; the answers are checked by the pod")


def read_gate(text: str) -> resolved_gate.Gate:
    """Return a gate that is written as JSON, like `spec.rollout.gate` or in the operator's resolved form.

    Only the operator's package can read the former, and the tools image does not have it. `golden` may be left out.

    Raises:
        GateInvalidError: naming the field and the fix.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise GateInvalidError(
            f"{resolved_gate.FIELD}: this is not JSON; write the gate as JSON, in camelCase"
        ) from None
    if isinstance(document, dict) and _RESOLVED_KEY in document:
        return resolved_gate.parse(text)
    return resolved_gate.parse(json.dumps(_resolve(document)))


def _resolve(document: Any) -> Any:
    try:
        # Imported here: the operator's package is not in the tools image.
        from slipway.api import parse_gate  # noqa: PLC0415
    except ImportError as error:
        raise GateInvalidError(
            f"{resolved_gate.FIELD}: reading a gate in this form needs the operator's package ({error}); run the command "
            "from a checkout, or pass the resolved gate: the --gate argument of the prober in a pod"
        ) from None
    written = {"golden": _GOLDEN} | document if isinstance(document, dict) else document
    try:
        return parse_gate(json.dumps(written))
    except ValueError as error:
        raise GateInvalidError(str(error)) from None


def _describe(name: str, examples: golden_set.Examples) -> None:
    print(f"{name}: {examples.count} examples")
    for kind, arrays in (("inputs", examples.inputs), ("outputs", examples.outputs)):
        for key, array in arrays.items():
            dtype = "numbers of JSON" if examples.untyped and array.dtype.kind in "if" else _dtype(array)
            print(f"  {kind}/{key}: {dtype} {list(array.shape)}")
    for output, labels in examples.labels.items():
        print(f"  labels{'' if output is None else f'/{output}'}: {int(labels.min())} to {int(labels.max())}")


def _dtype(array: golden_set.Array) -> str:
    return "text" if array.dtype.kind in "SO" else array.dtype.name


def _bounds(check: resolved_gate.Check) -> None:
    where = f"signature {check.signature!a}, output {'its only one' if check.output is None else ascii(check.output)}"
    print(f"{where}: {', '.join(f'{bound.metric} {bound.text}' for bound in check.bounds)}")


def _signatures(directory: Path) -> dict[str, Signature]:
    return signatures_of(savedmodel.check(directory).definitions)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="slipway-tools golden", description="Work on golden sets; docs/golden-sets.md.", allow_abbrev=False
    )
    commands = parser.add_subparsers(required=True)
    check = commands.add_parser(
        "check",
        allow_abbrev=False,
        description="Check a golden set before it is deployed. Exit code 0: it fits, 1: it does not, 2: wrong arguments.",
    )
    check.add_argument("file", type=Path, help="npz or JSON lines")
    check.add_argument(
        "--gate", metavar="JSON", help="spec.rollout.gate in camelCase, or the resolved gate of a prober"
    )
    check.add_argument("--model", type=Path, metavar="DIR", help="version directory with the saved_model.pb to fit")
    return parser
