"""A cluster that assigns users: all containers of a model's pod do their work as one that no image knows."""

from dev.kit import wait
from dev.kit.archive_server import url
from dev.kit.conditions import condition
from dev.kit.gates import config_map, gated, half_plus, npz
from dev.kit.kubectl import Kubectl
from dev.kit.model_deployments import deployment
from dev.kit.tiny_models import HALVES

NAME, USER = "anybody", 1000650000


def test_a_pod_serves_as_any_user(namespace: Kubectl) -> None:
    """As OpenShift's restricted-v2 does it: a user from the namespace's range, the group 0, and a group for volumes."""
    namespace.apply(config_map("half", half__npz=npz(half_plus(HALVES["half_plus_two"]))))
    gate = gated({"configMap": "half"}, {"matches": ">=1"})
    namespace.apply(deployment(NAME, url("half_plus_two.tar.gz"), replicas=0, rollout=gate))
    namespace.run("wait", "--for=create", f"deployment/{NAME}", "--timeout=180s", timeout=190)
    rendered = namespace.get("deployment", NAME)
    assert rendered is not None
    spec = rendered["spec"]["template"]["spec"]
    spec["securityContext"] |= {"runAsUser": USER, "runAsGroup": 0, "fsGroup": USER}
    namespace.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": NAME}, "spec": spec})
    found = wait.until(namespace, "pod", NAME, lambda state: condition(state, "Ready").get("status") == "True")
    assert found["spec"]["securityContext"]["runAsUser"] == USER
    words = namespace.run("exec", NAME, "--container=server", "--", "id", "-u").stdout
    assert words.strip() == str(USER)
