"""What is called different is what an apply would change, and nothing else."""

import copy
from typing import Any

import pytest

from slipway.decide.diff import difference, in_sync

DESIRED: dict[str, Any] = {
    "kind": "Deployment",
    "metadata": {"name": "a", "labels": {"ours": "1"}, "ownerReferences": [{"uid": "u", "controller": True}]},
    "spec": {
        "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}},
        "template": {
            "spec": {
                "containers": [
                    {
                        "name": "server",
                        "args": ["--a", "--b"],
                        "env": [{"name": "A", "value": "1"}],
                        "ports": [{"name": "grpc", "containerPort": 8500, "protocol": "TCP"}],
                        "resources": {"requests": {"cpu": "1000m"}, "limits": {"memory": "1024Mi"}},
                        "volumeMounts": [{"name": "m", "mountPath": "/models", "readOnly": True}],
                    }
                ],
                "volumes": [{"name": "m", "emptyDir": {}}, {"name": "t", "emptyDir": {"sizeLimit": "1024Mi"}}],
                "tolerations": [{"key": "gpu", "operator": "Exists"}],
                "enableServiceLinks": False,
            }
        },
    },
}
CONTAINER = ("spec", "template", "spec", "containers", 0)


def at(node: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        node = node[step]
    return node


def live(*changes: tuple[tuple[Any, ...], Any]) -> dict[str, Any]:
    """Return the desired object as the API server has it, with changes."""
    body = copy.deepcopy(DESIRED)
    body["metadata"] |= {"uid": "x", "generation": 3, "creationTimestamp": "2026-11-22T08:00:00Z"}
    body["spec"] |= {"replicas": 1, "minReadySeconds": 10}
    container = at(body, CONTAINER)
    container["resources"] = {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}}
    container["terminationMessagePath"] = "/dev/termination-log"
    at(body, ("spec", "template", "spec", "volumes"))[1]["emptyDir"]["sizeLimit"] = "1Gi"
    for path, value in changes:
        at(body, path[:-1])[path[-1]] = value
    return body


def test_in_sync_with_itself_and_with_what_the_server_makes_of_it() -> None:
    assert in_sync(DESIRED, DESIRED)
    assert difference(DESIRED, live()) is None


def test_additions_of_others_do_not_count() -> None:
    body = live()
    body["metadata"]["labels"]["theirs"] = "2"
    body["metadata"]["annotations"] = {"note": "x"}
    body["metadata"]["ownerReferences"].insert(0, {"uid": "other"})
    pod = body["spec"]["template"]["spec"]
    pod["containers"].insert(0, {"name": "istio-proxy", "image": "proxy"})
    pod["initContainers"] = [{"name": "istio-init"}]
    pod["volumes"].insert(0, {"name": "istio", "emptyDir": {}})
    pod["nodeSelector"] = {"injected": "yes"}
    container = pod["containers"][1]
    container["env"].insert(0, {"name": "B"})
    container["ports"].append({"containerPort": 1})
    container["volumeMounts"].insert(0, {"mountPath": "/x"})
    container["resources"]["claims"] = [{"name": "c"}]
    assert difference(DESIRED, body) is None


@pytest.mark.parametrize(
    ("path", "value", "status"),
    [
        (("metadata", "labels", "ours"), "2", "metadata.labels.ours"),
        (("metadata", "ownerReferences"), [{"uid": "other"}], "metadata.ownerReferences[u]"),
        (("spec", "strategy", "rollingUpdate", "maxSurge"), 1, "spec.strategy.rollingUpdate.maxSurge"),
        (("spec", "strategy", "rollingUpdate", "maxUnavailable"), 1, "spec.strategy.rollingUpdate.maxUnavailable"),
        ((*CONTAINER, "args"), ["--a"], "spec.template.spec.containers[server].args"),
        ((*CONTAINER, "args"), ["--b", "--a"], "spec.template.spec.containers[server].args[0]"),
        ((*CONTAINER, "env", 0, "value"), "2", "spec.template.spec.containers[server].env[A].value"),
        ((*CONTAINER, "ports", 0, "containerPort"), 1, "spec.template.spec.containers[server].ports[8500/TCP]"),
        (
            (*CONTAINER, "resources", "requests", "cpu"),
            "2",
            "spec.template.spec.containers[server].resources.requests.cpu",
        ),
        ((*CONTAINER, "resources", "limits"), None, "spec.template.spec.containers[server].resources.limits"),
        (
            (*CONTAINER, "volumeMounts", 0, "readOnly"),
            False,
            "spec.template.spec.containers[server].volumeMounts[/models].readOnly",
        ),
        ((*CONTAINER, "name"), "renamed", "spec.template.spec.containers[server]"),
        (
            ("spec", "template", "spec", "volumes", 0),
            {"name": "m", "hostPath": {"path": "/"}},
            "spec.template.spec.volumes[m].emptyDir",
        ),
        (
            ("spec", "template", "spec", "volumes", 1, "emptyDir", "sizeLimit"),
            "2Gi",
            "spec.template.spec.volumes[t].emptyDir.sizeLimit",
        ),
        (("spec", "template", "spec", "tolerations"), [], "spec.template.spec.tolerations"),
        (("spec", "template", "spec", "tolerations", 0, "key"), "x", "spec.template.spec.tolerations[0].key"),
        (("spec", "template", "spec", "enableServiceLinks"), True, "spec.template.spec.enableServiceLinks"),
        (("spec", "template", "spec"), None, "spec.template.spec"),
        (("spec", "template"), "text", "spec.template"),
    ],
)
def test_drift_is_found_and_named(path: tuple[Any, ...], value: Any, status: str) -> None:
    assert difference(DESIRED, live((path, value))) == status


@pytest.mark.parametrize("empty", [False, 0, "", [], {}, None])
def test_what_the_server_leaves_out_is_empty(empty: Any) -> None:
    assert in_sync({"spec": {"field": empty}}, {"spec": {}})
    assert in_sync({"spec": {"field": empty}}, {})


@pytest.mark.parametrize("full", [True, 1, "x", [1], {"a": 1}])
def test_what_is_not_there_is_missed(full: Any) -> None:
    assert difference({"spec": {"field": full}}, {"spec": {}}) == "spec.field"


def test_false_is_not_zero() -> None:
    assert not in_sync({"a": True}, {"a": 1})
    assert not in_sync({"a": "1"}, {"a": 1})


def test_a_selector_of_a_service_is_replaced_as_a_whole() -> None:
    desired = {"kind": "Service", "spec": {"selector": {"app": "a"}}}
    assert in_sync(desired, desired)
    assert difference(desired, {"kind": "Service", "spec": {"selector": {"app": "a", "more": "b"}}}) == "spec.selector"
    assert difference(desired, {"kind": "Service"}) == "spec.selector"


def test_metrics_are_one_list() -> None:
    desired = {"kind": "HorizontalPodAutoscaler", "spec": {"metrics": [{"type": "A"}]}}
    assert not in_sync(desired, {"spec": {"metrics": [{"type": "A"}, {"type": "B"}]}})


def test_neither_side_is_changed() -> None:
    mine, theirs = copy.deepcopy(DESIRED), live()
    before = copy.deepcopy(theirs)
    in_sync(mine, theirs)
    assert mine == DESIRED
    assert theirs == before
