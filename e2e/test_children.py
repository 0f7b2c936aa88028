"""What belongs to a ModelDeployment and what does not: repaired, left alone, refused, deleted with it."""

from dev.kit import traffic, wait
from dev.kit.archive_server import url
from dev.kit.conditions import condition
from dev.kit.kubectl import Kubectl, Manifest
from dev.kit.model_deployments import children, deployment, pods
from dev.kit.tiny_models import HALVES

MODEL = url("half_plus_two.tar.gz")


def foreign_service(name: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": {"whose": "somebody"}},
        "spec": {"selector": {"app": "somebody"}, "ports": [{"port": 80}]},
    }


def test_a_foreign_object_is_reported_and_left_alone(namespace: Kubectl) -> None:
    namespace.apply(foreign_service("taken"))
    before = namespace.get("service", "taken")
    namespace.apply(deployment("taken", MODEL))
    wait.refused(namespace, "taken", "NameConflict", "taken")
    assert namespace.get("service", "taken") == before
    namespace.run("delete", "service", "taken")
    wait.ready(namespace, "taken")


def test_two_that_want_one_name(namespace: Kubectl) -> None:
    namespace.apply(deployment("twin", MODEL))
    wait.ready(namespace, "twin")
    service = children(namespace, "twin")["Service/twin-headless"]
    namespace.apply(deployment("twin-headless", MODEL))
    wait.refused(namespace, "twin-headless", "NameConflict", "twin-headless")
    assert children(namespace, "twin")["Service/twin-headless"]["metadata"]["uid"] == service["metadata"]["uid"]
    assert condition(namespace.get("mdep", "twin") or {}, "Ready")["status"] == "True"
    assert traffic.predict_once(namespace, "twin") == traffic.answer_of(HALVES["half_plus_two"])


def test_drift_is_repaired_and_what_others_add_stays(namespace: Kubectl) -> None:
    namespace.apply(deployment("mended", MODEL))
    wait.ready(namespace, "mended")
    [before] = pods(namespace, "mended")
    namespace.run("annotate", "service", "mended", "example.org/note=stays")
    namespace.patch("service", "mended", {"spec": {"selector": {"serving.slipway.dev/name": "nobody"}}})
    repaired = wait.until(
        namespace,
        "service",
        "mended",
        lambda found: found["spec"]["selector"] == {"serving.slipway.dev/name": "mended"},
    )
    assert repaired["metadata"]["annotations"]["example.org/note"] == "stays"
    namespace.run("delete", "service", "mended-headless")
    wait.until(namespace, "deployment", "mended", lambda found: found["status"].get("readyReplicas") == 1)
    namespace.run("wait", "--for=create", "service/mended-headless", "--timeout=180s", timeout=190)
    [after] = pods(namespace, "mended")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]


def test_deleting_it_deletes_everything(namespace: Kubectl) -> None:
    namespace.apply(deployment("passing", MODEL, replicas=1))
    wait.ready(namespace, "passing")
    kinds = {key.split("/")[0] for key in children(namespace, "passing")}
    assert kinds == {"Deployment", "Service", "ControllerRevision"}
    [pod] = pods(namespace, "passing")
    assert not (namespace.get("mdep", "passing") or {})["metadata"].get("finalizers")
    namespace.run("delete", "mdep", "passing")
    wait.gone(namespace, "deployment", "passing")
    wait.gone(namespace, "service", "passing")
    wait.gone(namespace, "service", "passing-headless")
    wait.gone(namespace, "controllerrevision", "passing-1")
    wait.until(namespace, "pod", pod["metadata"]["name"], lambda found: "deletionTimestamp" in found["metadata"])
    assert children(namespace, "passing") == {}
