"""Operations that are not in TensorFlow itself: shared libraries that register them when they are loaded.

The C++ server has those of TensorFlow Text linked in. Here they are loaded where the package is installed beside the server,
and any other library by its path.
"""

import importlib.util
import logging
import os
from collections.abc import Mapping
from pathlib import Path

from model_server.errors import ServingError
from model_server.runtime.libtensorflow import TensorFlow

#: Paths of further libraries, separated as in PATH.
VARIABLE = "MODEL_SERVER_OP_LIBRARIES"
#: Packages whose operations are known, and where in them their libraries lie.
PACKAGES = {
    "tensorflow_text": "python/*/*.so",
    "tensorflow_decision_forests": "tensorflow/ops/inference/*.so",
}
_log = logging.getLogger(__name__)


def find(environment: Mapping[str, str]) -> list[Path]:
    """The libraries to load: of installed packages first, then of the environment."""
    found: list[Path] = []
    for package, pattern in PACKAGES.items():
        spec = importlib.util.find_spec(package)
        for directory in (spec.submodule_search_locations or ()) if spec else ():
            found += sorted(Path(directory).glob(pattern))
    return found + [Path(path) for path in environment.get(VARIABLE, "").split(os.pathsep) if path]


def load_all(library: TensorFlow, environment: Mapping[str, str]) -> None:
    """Load what `find` finds; ServingError that names the file if one cannot be loaded."""
    for path in find(environment):
        try:
            library.load_library(str(path))
        except ServingError as error:
            raise ServingError(error.code, f"Could not load the operations in {path}: {error.message}") from error
        _log.info("Loaded operations from %s", path)
