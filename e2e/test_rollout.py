"""Updates under load: no call fails, and Ready is never true for what is not served yet."""

from dev.kit import traffic, wait
from dev.kit.archive_server import url
from dev.kit.conditions import current
from dev.kit.kubectl import Kubectl
from dev.kit.model_deployments import deployment, pods
from dev.kit.tiny_models import HALVES

OLD, NEW = (traffic.answer_of(HALVES[name]) for name in ("half_plus_two", "half_plus_three"))


def test_no_call_fails_and_ready_means_served(namespace: Kubectl) -> None:
    namespace.apply(deployment("loaded", url("half_plus_two.tar.gz"), replicas=2))
    wait.ready(namespace, "loaded")
    with traffic.crowd(namespace, "loaded") as seen:
        traffic.wait_for(seen, lambda: seen.calls > 200)
        # kubectl's own wait, at once after the change: it must not take the old pods' Ready for the new ones'.
        namespace.apply(deployment("loaded", url("half_plus_three.tar.gz"), replicas=2))
        namespace.run("wait", "--for=condition=Ready", "mdep/loaded", "--timeout=180s", timeout=190)
        state = namespace.get("mdep", "loaded") or {}
        assert current(state, "Ready")["status"] == "True"
        assert {pod["revision"] for pod in state["status"]["pods"] if pod["state"] != "Terminating"} == {2}
        assert {pod["metadata"]["labels"]["serving.slipway.dev/revision"] for pod in pods(namespace, "loaded")} == {"2"}
        # Nodes learn a moment later that the old pods are on their way out; until then these still answer.
        traffic.settled(namespace, "loaded", NEW)
        after = seen.calls
        # The crowd's own channels follow when they come of age. A slow machine takes its time for a thousand calls.
        traffic.wait_for(seen, lambda: seen.calls > max(1000, after + 200) and seen.answers[NEW] > 0)
    assert seen.failures == []
    assert set(seen.answers) == {OLD, NEW}


def test_a_negative_control_does_fail(namespace: Kubectl) -> None:
    namespace.apply(deployment("killed", url("half_plus_two.tar.gz")))
    wait.ready(namespace, "killed")
    with traffic.crowd(namespace, "killed", clients=2) as seen:
        traffic.wait_for(seen, lambda: seen.calls > 50)
        selector = "--selector=serving.slipway.dev/name=killed"
        namespace.run(
            "delete", "pod", selector, "--grace-period=1", "--wait=false"
        )  # too little for graceful termination
        traffic.wait_for(seen, lambda: bool(seen.failures))
    assert seen.failures
    wait.ready(namespace, "killed")


def test_status_follows_through_an_update(namespace: Kubectl) -> None:
    namespace.apply(deployment("messages", url("half_plus_two.tar.gz")))
    first = wait.ready(namespace, "messages")
    assert current(first, "Progressing")["reason"] == "Complete"
    namespace.apply(deployment("messages", url("half_plus_three.tar.gz")))
    rolling = wait.until(namespace, "mdep", "messages", lambda state: current(state, "Progressing")["status"] == "True")
    assert current(rolling, "Ready")["status"] == "False"
    assert current(rolling, "Available")["status"] == "True"
    last = wait.ready(namespace, "messages")
    assert last["status"]["updateRevision"] == first["status"]["updateRevision"] + 1
    assert last["status"]["digest"] != first["status"]["digest"]
