"""Command line of the tools image: hands over to the module that has the command.

The modules are imported when they are asked for: the pilot runs as long as its pod and has no use for what downloads and
unpacks, and an init container none for gRPC.
"""

import importlib
import sys
from collections.abc import Sequence

_MODULES = {"pilot": "slipway_tools.pilot.command", "golden": "slipway_tools.pilot.goldens"}
_DEFAULT = "slipway_tools.commands"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    module = importlib.import_module(_MODULES.get(arguments[0], _DEFAULT) if arguments else _DEFAULT)
    code: int = module.main(arguments)
    return code
