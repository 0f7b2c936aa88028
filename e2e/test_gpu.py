"""One GPU in the cluster, simulated for the scheduler: served, and updated although there is no second one."""

from dev.kit import traffic, wait
from dev.kit.archive_server import url
from dev.kit.kubectl import Kubectl
from dev.kit.model_deployments import deployment, pods, selector
from dev.kit.tiny_models import HALVES


def test_an_update_lets_the_old_pod_go_first(one_gpu: str, namespace: Kubectl) -> None:
    gpu = {"count": 1, "product": one_gpu}
    namespace.apply(deployment("single", url("half_plus_two.tar.gz"), gpu=gpu))
    wait.ready(namespace, "single")
    [pod] = pods(namespace, "single")
    assert pod["spec"]["nodeSelector"]["nvidia.com/gpu.product"] == one_gpu
    server = next(container for container in pod["spec"]["containers"] if container["name"] == "server")
    assert server["image"].endswith("-gpu")

    namespace.apply(deployment("single", url("half_plus_three.tar.gz"), gpu=gpu))
    wait.ready(namespace, "single")
    events = namespace.run("get", "events", "--field-selector=reason=TerminatingFirst", "--output=name").stdout
    assert events
    assert traffic.predict_once(namespace, "single") == traffic.answer_of(HALVES["half_plus_three"])
    [after] = pods(namespace, "single")
    assert after["metadata"]["uid"] != pod["metadata"]["uid"]
    wait.until(
        namespace,
        "deployment",
        "single",
        lambda found: found["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0,
    )


def test_a_second_model_is_told_that_the_gpu_is_taken(one_gpu: str, namespace: Kubectl) -> None:
    namespace.apply(deployment("holder", url("half_plus_two.tar.gz"), gpu={"count": 1}))
    wait.ready(namespace, "holder")
    namespace.apply(deployment("waiting", url("half_plus_two.tar.gz"), gpu={"count": 1}))
    wait.refused(namespace, "waiting", "GpuUnavailable", "nvidia.com/gpu")
    namespace.run("delete", "mdep", "holder")
    namespace.run("delete", "pods", f"--selector={selector('holder')}", "--grace-period=1", "--wait=false")
    wait.ready(namespace, "waiting")
