"""The image's server in a pod like the operator's keeps the contract: the conformance suite tests it over the wire."""

from pathlib import Path

from dev.kit import wait
from dev.kit.archive_server import url
from dev.kit.conditions import condition
from dev.kit.kubectl import Kubectl, Manifest
from dev.kit.model_deployments import deployment
from e2e.lib import conformance
from tests.conformance import suite

NAME = "contract"
LEAST = 180
LOOK = "id -u; grep CapEff: /proc/self/status; grep ' / ' /proc/self/mounts"


def words(kubectl: Kubectl) -> str:
    """Return what the pod's containers have said last."""
    return kubectl.run("logs", NAME, "--all-containers", "--ignore-errors", "--prefix", "--tail=100").stdout


def started(kubectl: Kubectl) -> Manifest:
    """Start the server, with image and pod from the operator, which gets a model without pods; return the pod."""
    kubectl.apply(deployment(NAME, url(conformance.ARCHIVE), replicas=0))
    kubectl.run("wait", "--for=create", f"deployment/{NAME}", "--timeout=180s", timeout=190)
    rendered = kubectl.get("deployment", NAME)
    assert rendered is not None
    output = kubectl.apply(conformance.pod(NAME, rendered))
    assert not output.warnings, output.warnings

    def over(state: Manifest) -> bool:
        phase = state["status"].get("phase")
        return condition(state, "Ready").get("status") == "True" or phase in ("Failed", "Succeeded")

    found = wait.until(kubectl, "pod", NAME, over)
    assert found["status"]["phase"] == "Running", words(kubectl)
    return found


def test_the_image_keeps_the_contract(namespace: Kubectl, tmp_path: Path) -> None:
    conformance.publish(namespace, tmp_path)
    pod = started(namespace)
    user, capabilities, root = namespace.run(
        "exec", NAME, "--container=server", "--", "sh", "-c", LOOK
    ).stdout.splitlines()
    assert (user, int(capabilities.split()[1], 16)) == ("65532", 0)
    assert "ro" in root.split()[3].split(",")

    with conformance.route(namespace, pod) as address:
        outcome = suite.run(tmp_path / "report.xml", "tests/conformance", f"--address={address}")
    assert outcome.status == 0, words(namespace)
    assert outcome.passed >= LEAST
    assert outcome.skipped
    assert set(outcome.skipped.values()) == {suite.NEEDS_EXECUTABLE}
    assert {name.partition("::")[0] for name in outcome.skipped} == {"test_process"}
