"""Command line of the tools image: hands over to the module that has the command.

The modules are imported when they are asked for: the pilot runs as long as its pod and has no use for what downloads and
unpacks, and an init container none for gRPC.
"""

import importlib
import sys
from collections.abc import Sequence

_MODULES = {"pilot": "slipway_tools.pilot.command", "golden": "slipway_tools.pilot.goldens"}
_DEFAULT = "slipway_tools.commands"
# Python's bindings of OpenSSL: gRPC imports asyncio, which imports them where they are.
_OPENSSL = ("ssl", "_ssl", "_hashlib")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = arguments[0] if arguments else ""
    if name == "pilot":
        _leave_out_openssl()
    module = importlib.import_module(_MODULES.get(name, _DEFAULT))
    code: int = module.main(arguments)
    return code


def _leave_out_openssl() -> None:
    """Make `import ssl` fail, which every importer is prepared for: 5 of 60 MiB that a pod would hold for nothing.

    The pilot speaks plain gRPC over localhost and needs no digest of OpenSSL's.
    """
    for name in _OPENSSL:
        # None is how the import system is told that a module is not there.
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
