"""The sampling profiler: where a program burns CPU is where its samples are."""

import subprocess
import sys
from pathlib import Path

from dev.bench.profiler import Sampler, summarise


def test_a_summary_adds_up_own_time_and_time_with_callees() -> None:
    text = summarise("a.py:main;b.py:work 6\na.py:main;c.py:wait;b.py:work 2\na.py:main 2\n")
    assert "10 samples" in text
    own, whole = text.split("with what they call:")
    assert "80.0%  b.py:work" in own
    assert "20.0%  a.py:main" in own
    assert "100.0%  a.py:main" in whole


def test_an_empty_profile_has_an_empty_summary() -> None:
    assert summarise("\n").splitlines() == ["0 samples", "by themselves:", "with what they call:"]


def test_samples_name_the_function_that_burns(tmp_path: Path) -> None:
    out = tmp_path / "stacks"
    code = (
        "import sys, time; from dev.bench.profiler import Sampler\n"
        "def burn():\n"
        "    end = time.process_time() + 0.3\n"
        "    while time.process_time() < end: pass\n"
        "sampler = Sampler(); sampler.start(); burn(); sampler.stop()\n"
        "open(sys.argv[1], 'w').write(sampler.collapsed())\n"
    )
    subprocess.run([sys.executable, "-c", code, str(out)], check=True, cwd=Path(__file__).parents[3])
    stacks = out.read_text()
    burnt = sum(int(line.rpartition(" ")[2]) for line in stacks.splitlines() if ":burn " in line)
    assert burnt >= 10
    assert Sampler().collapsed() == "\n"
