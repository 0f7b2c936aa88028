"""Cuts the few generated protobuf modules that the tools need out of the wheels of TensorFlow and its serving API.

    python stubs.py --requirements model-server.txt serving-api.txt --output DIR    downloads the pinned wheels with pip
    python stubs.py --site-packages .venv/lib/…/site-packages --output DIR          takes them from an installation

Only the modules that `ROOTS` import, directly or not, are copied; the packages around them get empty `__init__.py`,
so that importing one does not start TensorFlow. Nothing is edited.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath

ROOTS = (
    "tensorflow/core/protobuf/meta_graph_pb2.py",
    "tensorflow_serving/apis/get_model_metadata_pb2.py",
    "tensorflow_serving/apis/predict_pb2.py",
)
_IMPORT = re.compile(r"^from ([\w.]+) import (\w+_pb2)\b", re.MULTILINE)
_ENTRY = re.compile(r"^tensorflow(?:-cpu|-serving-api)?==\S+.*?(?<!\\)$", re.MULTILINE | re.DOTALL)

Read = Callable[[str], bytes]


def closure(read: Read) -> dict[str, bytes]:
    """Return path and content of every module that `ROOTS` need, protobuf's own excepted."""
    modules: dict[str, bytes] = {}
    pending = list(ROOTS)
    while pending:
        path = pending.pop()
        if path in modules:
            continue
        modules[path] = read(path)
        for package, module in _IMPORT.findall(modules[path].decode()):
            if not package.startswith("google.protobuf"):
                pending.append(f"{package.replace('.', '/')}/{module}.py")
    return modules


def write(modules: dict[str, bytes], output: Path) -> None:
    """Write the modules and an empty `__init__.py` for each package."""
    for path, content in modules.items():
        target = output / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        for package in PurePosixPath(path).parents[:-1]:
            (output / package / "__init__.py").touch()


def pinned(requirements: Sequence[Path]) -> str:
    """Return only TensorFlow's entries of the requirements files, with their hashes."""
    entries = [match.group(0) for file in requirements for match in _ENTRY.finditer(file.read_text())]
    if not entries:
        raise SystemExit(f"{', '.join(map(str, requirements))}: tensorflow is not pinned there")
    return "\n".join(entries) + "\n"


def from_wheels(requirements: Sequence[Path]) -> dict[str, bytes]:
    """Download the pinned wheels and read the modules out of them."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        wanted = Path(folder, "tensorflow.txt")
        wanted.write_text(pinned(requirements))
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:",
             "--dest", folder, "--requirement", str(wanted)],
            check=True,
        )  # fmt: skip
        archives = [stack.enter_context(zipfile.ZipFile(wheel)) for wheel in Path(folder).glob("*.whl")]
        where = {name: archive for archive in archives for name in archive.namelist()}
        return closure(lambda path: where[path].read(path))


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--requirements", type=Path, nargs="+", metavar="FILE",
                        help="requirements files that pin tensorflow and tensorflow-serving-api with hashes")  # fmt: skip
    source.add_argument("--site-packages", type=Path, help="where they are installed")
    parser.add_argument("--output", type=Path, required=True, help="folder that goes on the Python path")
    arguments = parser.parse_args()
    if arguments.requirements is not None:
        modules = from_wheels(arguments.requirements)
    else:
        modules = closure(lambda path: (arguments.site_packages / path).read_bytes())
    write(modules, arguments.output)
    print(f"{len(modules)} modules, {sum(map(len, modules.values()))} bytes")


if __name__ == "__main__":
    main()
