"""Gates that a model passes, from every place where a golden set can lie; and what a prober says about it in numbers.

All models of this module start at the same time, and each test looks at one of them.
"""

import hashlib
import io
import json
import tarfile
from typing import Any

import numpy as np
import pytest

from dev.kit import archive_server, example_models, manifests, traffic, wait
from dev.kit.archive_server import url
from dev.kit.conditions import current
from dev.kit.gates import GOLDEN_X, config_map, gated, half_plus, npz, verdicts
from dev.kit.kubectl import Kubectl
from dev.kit.model_deployments import deployment, pods
from dev.kit.tiny_models import HALVES, models_folder
from e2e.lib import endpoints

TWO = half_plus(HALVES["half_plus_two"])
LINES = "".join(
    json.dumps({"inputs": {"x": float(x)}, "outputs": {"y": float(x) / 2 + HALVES["half_plus_two"]}}) + "\n"
    for x in GOLDEN_X
).encode()
LOOSE = "<=5000"
"""A latency that any machine keeps."""
DIGITS = {"accuracy": ">=0.9", "topKAccuracy": ">=0.97", "loss": "<=0.5", "p50LatencyMillis": LOOSE}
ERRORS = {"meanAbsoluteError": "<=1e-3", "meanSquaredError": "<=1e-5", "maxAbsoluteError": "<=1e-3", "matches": ">=1"}
ACCURATE: dict[str, Any] = {"metrics": {"accuracy": ">=0.9"}, "output": "probabilities"}
TUNED: dict[str, Any] = {"checks": [{"signature": "tune", "metrics": {"p99LatencyMillis": LOOSE}}]}

# File of the model, and its gate, by what is special about the golden set.
GATES: dict[str, tuple[str, dict[str, Any]]] = {
    "in-a-map": ("half_plus_two", gated({"configMap": "half"}, ERRORS)),
    "lines-of-json": ("half_plus_two", gated({"configMap": "both", "key": "half.jsonl"})),
    "from-a-uri": ("digits", gated({"uri": url("digits-golden.npz")}, DIGITS, output="probabilities")),
    "in-a-claim": ("digits", gated({"uri": "pvc://models/golden/digits.npz"}, batchSize=32, **ACCURATE)),
    "in-the-model": ("digits", gated({"path": "assets.extra/golden.npz"}, **ACCURATE)),
    "two-signatures": ("tunable", gated({"configMap": "tuned"}, {"matches": ">=1"}, **TUNED)),
}


@pytest.fixture(scope="module")
def started(shared_namespace: Kubectl) -> Kubectl:
    """A namespace in which all of them start."""
    golden = (models_folder() / "digits" / "golden.npz").read_bytes()
    GATES["from-a-uri"][1]["gate"]["golden"]["digest"] = f"sha256:{hashlib.sha256(golden).hexdigest()}"
    shared_namespace.apply(
        config_map("half", golden__npz=npz(TWO)),
        config_map("both", half__jsonl=LINES, other__npz=npz(TWO)),
        config_map("tuned", golden__npz=npz(TWO | {"tune:inputs/offset": np.full(4, 2, np.float32)})),
    )
    example_models.prepare_volume(shared_namespace)
    write(shared_namespace, "/models/golden/digits.npz", golden)
    shared_namespace.apply(
        *(deployment(name, url(f"{file}.tar.gz"), rollout=gate) for name, (file, gate) in GATES.items())
    )
    return shared_namespace


def write(kubectl: Kubectl, path: str, content: bytes) -> None:
    """Write a file into the claim."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo(path.removeprefix("/models/"))
        member.size, member.mode = len(content), 0o644
        archive.addfile(member, io.BytesIO(content))
    unpack = "import sys, tarfile; tarfile.open(fileobj=sys.stdin.buffer, mode='r|').extractall('/models')"
    kubectl.run("exec", "-i", manifests.PUBLISHER, "--", "python3", "-c", unpack, stdin=buffer.getvalue())


@pytest.mark.parametrize("name", GATES)
def test_it_passes_and_serves(started: Kubectl, name: str) -> None:
    state = wait.ready(started, name)
    assert verdicts(state) == {1: ("Ready", "")}
    assert current(state, "RolledBack")["status"] == "False"
    [pod] = pods(started, name)
    assert [container["name"] for container in pod["spec"]["initContainers"]] == ["fetch", "prober"]
    assert pod["spec"]["initContainers"][1]["restartPolicy"] == "Always"
    if GATES[name][0] == "half_plus_two":
        assert traffic.predict_once(started, name) == traffic.answer_of(HALVES["half_plus_two"])


def test_what_was_measured_is_a_live_series(started: Kubectl) -> None:
    wait.ready(started, "from-a-uri")
    [pod] = pods(started, "from-a-uri")
    labels = 'model="from-a-uri",output="probabilities",revision="1",signature="serving_default"'
    page = scrape(started, pod["status"]["podIP"])
    found = {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in page if line and not line.startswith("#")
    }
    measured = {key: value for key, value in found.items() if key.startswith("slipway_gate_metric_value{")}
    assert len(measured) == len(DIGITS)
    series = {sorted_labels(key): value for key, value in found.items()}
    assert series[f'slipway_gate_metric_value{{metric="accuracy",{labels}}}'] >= 0.9
    assert series[f'slipway_gate_bound{{metric="accuracy",{labels}}}'] == 0.9
    assert 0 < series[f'slipway_gate_metric_value{{metric="p50LatencyMillis",{labels}}}'] < 5000
    assert series['slipway_gate_passed{model="from-a-uri",revision="1"}'] == 1


def sorted_labels(series: str) -> str:
    """Return a series with its labels in the order of their names, `metric` first."""
    name, _, rest = series.partition("{")
    parts = sorted(rest.rstrip("}").split(","), key=lambda part: (not part.startswith("metric="), part))
    return f"{name}{{{','.join(parts)}}}" if rest else name


def scrape(kubectl: Kubectl, address: str) -> list[str]:
    """Return the lines of a prober's metrics, scraped by another pod of the cluster, as Prometheus would."""
    read = f"import urllib.request; print(urllib.request.urlopen('http://{address}:8502/metrics', timeout=5).read().decode())"
    system = kubectl.within(archive_server.NAMESPACE)
    return system.run("exec", archive_server.NAME, "--", "python3", "-c", read).stdout.splitlines()


def test_a_golden_set_that_changes_disturbs_no_running_pod(started: Kubectl) -> None:
    """An edited ConfigMap says something else to pods that start later, and nothing to those that run."""
    with endpoints.watched(started, "in-a-map") as seen:
        wait.ready(started, "in-a-map")
        [before] = pods(started, "in-a-map")
        started.apply(config_map("half", golden__npz=npz(half_plus(HALVES["half_plus_three"]))))
        # Growing by one shows both: the new pod is checked against the new golden set and fails, the old one is left alone.
        started.run("scale", "mdep", "in-a-map", "--replicas=2")
        state = wait.refused(started, "in-a-map", "GateFailed")
        assert state["status"]["readyReplicas"] == 1
        assert current(state, "RolledBack")["status"] == "False"
        started.run("scale", "mdep", "in-a-map", "--replicas=1")
        wait.ready(started, "in-a-map")
        assert [pod["metadata"]["uid"] for pod in pods(started, "in-a-map")] == [before["metadata"]["uid"]]
    assert seen.by_revision == {1: {before["metadata"]["uid"]}}
