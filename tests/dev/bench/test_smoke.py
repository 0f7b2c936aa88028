"""The whole benchmark, tiny: five resources on two nodes, every measurement, real operator and control plane."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_five_resources_are_measured_from_end_to_end(tmp_path: Path) -> None:
    out = tmp_path / "folder" / "bench.json"
    options = ["--sizes=5", "--nodes=2", "--baselines=1", "--idle-seconds=5", "--returns=1", f"--json={out}"]
    done = subprocess.run(
        [sys.executable, "-m", "dev.bench", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=390,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(out.read_text())
    [creation] = document["creations"]
    assert creation["children"] >= 5
    assert creation["requests"]["writes"] >= 5 * creation["children"]
    assert creation["cpu_seconds"] > 0
    assert creation["peak_mib"] >= creation["start_mib"] > 20
    assert document["after"]["restart"]["requests"]["watches"] > 0
    assert document["after"]["change"]["requests"]["requests"]["patch deployments"] >= 5
    assert set(document["after"]["returns"]["seconds"]) >= {"Deployment", "Service", "ControllerRevision"}
    # Counts do not depend on how fast the machine is: these bars hold for any N.
    exact = ("requests per resource", "no writes", "idle requests", "after a restart", "template change")
    missed = [bar for bar in document["bars"] if not bar["kept"] and any(word in bar["name"] for word in exact)]
    assert missed == []
    assert "N = 5" in done.stdout


def test_sizes_are_positive_numbers() -> None:
    for wrong in ("0", "5,-1", "many"):
        done = subprocess.run(
            [sys.executable, "-m", "dev.bench", f"--sizes={wrong}"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert "--sizes" in done.stderr
