"""The kubectl wrapper, with a script in kubectl's place that says what kubectl says."""

import stat
import time
from pathlib import Path

import pytest

from dev.kit.kubectl import Kubectl, KubectlError


@pytest.fixture
def kubectl(tmp_path: Path) -> Kubectl:
    program = tmp_path / "kubectl"
    program.write_text(
        """#!/bin/sh
shift 2
case "$*" in
  "get thing --field-selector=metadata.name=watched --watch --output=json") echo $$ >"$0.pid"; printf '{"n": 1}\\n{"n":'; printf ' 2}\\n{"n": 3}'; exec sleep 60;;
  "get thing --field-selector=metadata.name=broken --watch --output=json") echo $$ >"$0.pid"; printf '{"n": 1}'; echo 'Error: gone' >&2; exit 1;;
  "get thing there --ignore-not-found --output=json") echo '{"kind": "Thing"}';;
  "get thing absent --ignore-not-found --output=json") ;;
  port-forward*) echo 'Forwarding from 127.0.0.1:40001 -> 8500'; echo 'Forwarding from [::1]:40001 -> 8500'
    echo 'Forwarding from 127.0.0.1:40002 -> 8501'; exec sleep 60;;
  warned) echo 'Warning: would violate PodSecurity' >&2;;
  slow) exec sleep 60;;
  *) echo "error: unknown: $*" >&2; exit 1;;
esac
"""
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return Kubectl(program, tmp_path / "config", "space")


def test_the_namespace_and_the_kubeconfig_are_always_said(kubectl: Kubectl) -> None:
    assert kubectl.within("other").argv("get", "x")[1:] == [
        f"--kubeconfig={kubectl.kubeconfig}",
        "--namespace=other",
        "get",
        "x",
    ]


def test_objects_or_none(kubectl: Kubectl) -> None:
    assert kubectl.get("thing", "there") == {"kind": "Thing"}
    assert kubectl.get("thing", "absent") is None


def test_errors_are_kubectls_own_words(kubectl: Kubectl) -> None:
    with pytest.raises(KubectlError, match="error: unknown: frobnicate"):
        kubectl.run("frobnicate")
    with pytest.raises(KubectlError, match="no answer within 0 s"):
        kubectl.run("slow", timeout=0.1)


def test_warnings_are_kept(kubectl: Kubectl) -> None:
    assert kubectl.run("warned").warnings == ["Warning: would violate PodSecurity"]


def test_a_watch_yields_each_state_and_ends_at_its_deadline(kubectl: Kubectl) -> None:
    began = time.monotonic()
    with kubectl.watch("thing", "watched", 3) as states:
        assert [state["n"] for state in states] == [1, 2, 3]
    assert 2.9 < time.monotonic() - began < 50, "kubectl itself would end after a minute"


def test_a_watch_that_is_left_early_leaves_no_process(kubectl: Kubectl) -> None:
    with kubectl.watch("thing", "watched", 60) as states:
        assert next(states) == {"n": 1}
        pid = Path(f"{kubectl.program}.pid").read_text().strip()
        assert Path("/proc", pid).exists()
    assert not Path("/proc", pid).exists()


def test_a_watch_is_begun_anew_now_and_then(kubectl: Kubectl) -> None:
    with kubectl.watch("thing", "watched", 60, renew=3) as states:
        first = [next(states)["n"] for _ in range(3)]
        pid = Path(f"{kubectl.program}.pid").read_text().strip()
        assert [*first, *(next(states)["n"] for _ in range(2))] == [1, 2, 3, 1, 2]
        assert not Path("/proc", pid).exists()


def test_a_watch_that_breaks_says_why(kubectl: Kubectl) -> None:
    with kubectl.watch("thing", "broken", 10) as states:
        assert next(states) == {"n": 1}
        with pytest.raises(KubectlError, match="Error: gone"):
            next(states)


def test_forwarded_ports(kubectl: Kubectl) -> None:
    with kubectl.port_forward("service/x", (8500, 8501)) as ports:
        assert ports == {8500: 40001, 8501: 40002}
    with pytest.raises(KubectlError, match="8502"), kubectl.port_forward("service/x", (8502,), 0.3):
        pass
