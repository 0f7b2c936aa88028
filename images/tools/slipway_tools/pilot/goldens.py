"""`slipway-tools golden check`: what can be said of a golden set before it is deployed, without any server.

Exit code 0: it fits. 1: it does not, and stderr says why and what to do. 2: wrong arguments.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from slipway_tools import savedmodel
from slipway_tools.errors import ModelError
from slipway_tools.pilot import gate, goldenset
from slipway_tools.pilot.binding import bind, without_model
from slipway_tools.pilot.client import Signature, signatures_of
from slipway_tools.pilot.errors import GateInvalidError


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
    parsed = gate.parse("{}" if gate_text is None else gate_text)
    golden = goldenset.read(file, parsed.signature)
    for name, examples in golden.items():
        _describe(name, examples)
    if gate_text is None:
        print("the golden set can be read; --gate checks it against bounds")
        return
    if model is None:
        checks = without_model(parsed, golden)
        for check in checks:
            _bounds(check)
        print("gate and golden set fit; --model checks them against the signatures of a SavedModel")
        return
    for plan in bind(parsed, golden, _signatures(model)):
        for task in plan.tasks:
            _bounds(task.check)
    print("gate, golden set and model fit; the answers are checked by the pod")


def _describe(name: str, examples: goldenset.Examples) -> None:
    print(f"{name}: {examples.count} examples")
    for kind, arrays in (("inputs", examples.inputs), ("outputs", examples.outputs)):
        for key, array in arrays.items():
            dtype = "numbers of JSON" if examples.loose and array.dtype.kind in "if" else _dtype(array)
            print(f"  {kind}/{key}: {dtype} {list(array.shape)}")
    for output, labels in examples.labels.items():
        print(f"  labels{'' if output is None else f'/{output}'}: {int(labels.min())} to {int(labels.max())}")


def _dtype(array: goldenset.Array) -> str:
    return "text" if array.dtype.kind in "SO" else array.dtype.name


def _bounds(check: gate.Check) -> None:
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
    check.add_argument("--gate", metavar="JSON", help="spec.rollout.gate, in camelCase")
    check.add_argument("--model", type=Path, metavar="DIR", help="version directory with the saved_model.pb to fit")
    return parser
