"""The operator as a process: what the kernel says of it, and what happens when it ends by itself."""

import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from dev.bench.operator_process import Invocation, Operator, cpu_seconds, memory_mib
from dev.repository import ROOT


def test_cpu_time_of_a_process_grows_with_its_work() -> None:
    before = cpu_seconds(os.getpid())
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass
    assert cpu_seconds(os.getpid()) >= before + 0.15  # the kernel counts in ticks of 10 ms


def test_a_process_that_is_gone_uses_no_cpu() -> None:
    assert cpu_seconds(2**22 + 1) == 0


def test_memory_is_told_in_mib() -> None:
    now, peak = memory_mib(os.getpid(), "VmRSS"), memory_mib(os.getpid(), "VmHWM")
    assert 5 < now <= peak < 4096
    with pytest.raises(ValueError, match="no VmNothing"):
        memory_mib(os.getpid(), "VmNothing")


def invocation(tmp_path: Path, **changes: Any) -> Invocation:
    return Invocation(tmp_path / "config", "ns", tmp_path / "log", **changes)


def test_the_command_line_is_the_one_of_users_unless_it_is_profiled(tmp_path: Path) -> None:
    argv = invocation(tmp_path, flags=("--workers=3",)).argv()
    assert argv[:3] == [sys.executable, "-m", "slipway"]
    assert f"--kubeconfig={tmp_path / 'config'}" in argv
    assert "--leader-election-namespace=ns" in argv
    assert argv[-1] == "--workers=3"
    profiled = invocation(tmp_path, profile=tmp_path / "stacks").argv()
    assert profiled[1:4] == ["-m", "dev.bench.profiler", str(tmp_path / "stacks")]


async def test_an_operator_that_ends_by_itself_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    operator = Operator(invocation(tmp_path, flags=("--no-such-flag",)))
    operator._process.wait(60)
    with pytest.raises(RuntimeError, match=r"ended with status 2:[\s\S]*no-such-flag"):
        await operator.quiet(0.1)
    operator.stop()


def test_the_repository_is_where_the_operator_is() -> None:
    assert (ROOT / "operator" / "slipway").is_dir()
