"""Command line of the tools image: runs the module that has the command.

Only that module is imported: the prober runs as long as its pod and needs no downloads and archives; an init container needs
no gRPC.
"""

import importlib
import sys
from collections.abc import Sequence

_MODULES = {"prober": "slipway_tools.prober.prober_command", "golden": "slipway_tools.golden_check"}
_DEFAULT = "slipway_tools.model_commands"
# Python's bindings of OpenSSL: gRPC imports asyncio, which imports them where they are.
_OPENSSL = ("ssl", "_ssl", "_hashlib")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = arguments[0] if arguments else ""
    if name == "prober":
        _leave_out_openssl()
    module = importlib.import_module(_MODULES.get(name, _DEFAULT))
    code: int = module.main(arguments)
    return code


def _leave_out_openssl() -> None:
    """Make `import ssl` fail, which every importer here expects: it saves 5 of 60 MiB for the life of the pod.

    The prober uses plain gRPC over localhost, and no digest of OpenSSL.
    """
    for name in _OPENSSL:
        # None is how the import system is told that a module is not there.
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
