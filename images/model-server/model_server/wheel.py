"""Where the TensorFlow wheel lies, found without importing it."""

import importlib.util
import sys
from pathlib import Path


def directory() -> Path:
    """The directory of the installed TensorFlow wheel; ImportError where there is none."""
    loaded = sys.modules.get("tensorflow")
    if loaded is not None:
        return Path(next(iter(loaded.__path__)))
    spec = importlib.util.find_spec("tensorflow")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("the TensorFlow wheel is not installed")
    return Path(spec.submodule_search_locations[0])
