"""The real operator with nothing but the rights of the chart: they suffice, and it uses each of them."""

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dev.cluster.api_client import Api
from dev.cluster.controlplane import ControlPlane
from dev.kit.eventually import eventually
from tests.chart.conftest import NAMESPACE, ROOT, Manifest, Render, Run, as_list
from tests.chart.test_rights import GRANTED, LEASE

ACCOUNT = f"system:serviceaccount:{NAMESPACE}:slipway"
MODEL = {
    "apiVersion": "serving.slipway.dev/v1alpha1",
    "kind": "ModelDeployment",
    "metadata": {"name": "digits", "namespace": "team-a"},
    "spec": {
        "model": {"uri": "pvc://models/digits"},
        "resources": {"requests": {"cpu": "1"}},
        "autoscaling": {"minReplicas": 2, "maxReplicas": 3},
    },
}
MODELS = "/apis/serving.slipway.dev/v1alpha1/namespaces/team-a/modeldeployments"
DEPLOYMENT = "/apis/apps/v1/namespaces/team-a/deployments/digits"
AUTOSCALER = "/apis/autoscaling/v2/namespaces/team-a/horizontalpodautoscalers/digits"
REVISION = "/apis/apps/v1/namespaces/team-a/controllerrevisions/digits-1"
EVENTS = "/apis/events.k8s.io/v1/namespaces/team-a/events"
SERVICES = "/api/v1/namespaces/team-a/services"
PODS = "/api/v1/namespaces/team-a/pods"
CONFIG_MAPS = "/api/v1/namespaces/team-a/configmaps"
CHILDREN = "deployments,services,controllerrevisions,configmaps,horizontalpodautoscalers,poddisruptionbudgets"
FOREIGN_SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "taken"},
    "spec": {"ports": [{"port": 80}], "selector": {"app": "foreign"}},
}
BUDGET = "/apis/policy/v1/namespaces/team-a/poddisruptionbudgets/digits"

# Granted and not seen: a first server-side apply needs the permission to create, but is sent and logged as a patch.
APPLIED = {(resource, "create") for resource, verbs in GRANTED.items() if {"create", "list"} <= verbs}
# An Event that is told twice.
RARE = {(("events.k8s.io", "events"), "patch")}

Right = tuple[tuple[str, str], str]
_eventually = partial(eventually, seconds=60)


@pytest.fixture(params=["default", "namespaced"])
def operator(
    request: pytest.FixtureRequest, plane: ControlPlane, render: Render, kubectl: Run, tmp_path: Path
) -> Iterator[Path]:
    """Run the operator as the chart's service account; yield its log."""
    found = render(request.param)
    kinds = ("CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
    rights = as_list([entry for entry in found.objects if entry["kind"] in kinds])
    kubectl("apply", "--filename", "-", body=rights)
    _eventually(lambda: plane.api().healthy(MODELS), "the API server serves the resource")
    # The chart's own arguments, but for the ports: there is one machine and no pod here.
    arguments = [argument for argument in found.operator()["args"] if "-address=" not in argument]
    kubeconfig = plane.kubeconfig(ACCOUNT, ["system:serviceaccounts", f"system:serviceaccounts:{NAMESPACE}"])
    log = tmp_path / "operator.log"
    command = [sys.executable, "-m", "slipway", *arguments, f"--kubeconfig={kubeconfig}"]
    command += ["--metrics-bind-address=127.0.0.1:0", "--health-probe-bind-address=127.0.0.1:0"]
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env={"PYTHONPATH": str(ROOT / "operator")})
        yield log
        process.terminate()
        assert process.wait(timeout=30) == 0, log.read_text()
    kubectl("delete", "--filename", "-", body=rights)
    # Without a garbage collector the children stay; and the next run begins anew.
    kubectl("delete", f"{CHILDREN},events.events.k8s.io", "--all", "--namespace=team-a")
    kubectl("delete", "leases", "--all", f"--namespace={NAMESPACE}")


def _requested(plane: ControlPlane) -> Iterator[tuple[tuple[str, str], str, int]]:
    """What the account requested: group and resource, verb, HTTP status of the answer."""
    for event in plane.audit_events():
        reference: dict[str, Any] = event.get("objectRef") or {}
        if event["user"]["username"] == ACCOUNT and reference:
            resource = "/".join(part for part in (reference["resource"], reference.get("subresource")) if part)
            code = event.get("responseStatus", {}).get("code", 200)
            yield (reference.get("apiGroup", ""), resource), event["verb"], code


def _admitted_as_restricted(kubectl: Run, deployment: Manifest) -> None:
    """Its pods get into a namespace that enforces the restricted standard, as they are and without a warning."""
    pod = {"apiVersion": "v1", "kind": "Pod", **deployment["spec"]["template"]}
    pod["metadata"] = {**pod["metadata"], "name": "pod", "namespace": "team-a"}
    done = kubectl("create", "--dry-run=server", "--validate=strict", "--filename", "-", body=json.dumps(pod))
    assert done.stderr == ""


def _first_pod_reports(api: Api, template: Manifest) -> None:
    """Do what controller manager, scheduler and kubelet would: there is a Ready pod, and its fetch has found something."""
    pod = {"metadata": {**template["metadata"], "name": "digits-pod"}, "spec": template["spec"]}
    api.create(PODS, pod)
    found = json.dumps({"version": 7, "digest": "sha256:" + "a" * 64})
    ended = {"exitCode": 0, "reason": "Completed", "message": found}
    fetch = {"name": "fetch", "image": "x", "imageID": "x", "ready": True, "restartCount": 0}
    status = {
        "phase": "Running",
        "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "True"}],
        "initContainerStatuses": [{**fetch, "state": {"terminated": ended}}],
    }
    api.patch(f"{PODS}/digits-pod/status", {"status": status})


def test_its_rights_suffice_and_are_used(operator: Path, plane: ControlPlane, kubectl: Run) -> None:
    api = plane.api()
    before = len(list(_requested(plane)))
    api.create(MODELS, MODEL)
    _eventually(lambda: "status" in api.get(f"{MODELS}/digits"), "a status is written")
    _eventually(lambda: all(map(api.exists, (DEPLOYMENT, BUDGET))), "its children are there")
    _admitted_as_restricted(kubectl, api.get(DEPLOYMENT))
    _first_pod_reports(api, api.get(DEPLOYMENT)["spec"]["template"])
    pin = f"{CONFIG_MAPS}/digits-1-{api.get(f'{MODELS}/digits')['metadata']['uid'].partition('-')[0]}"
    _eventually(lambda: api.exists(pin), "what the pod serves is pinned")
    assert api.get(pin)["data"] == {"version": "7", "digest": "sha256:" + "a" * 64}
    _eventually(lambda: api.exists(AUTOSCALER), "from then on there may be more pods")
    api.delete(f"{PODS}/digits-pod")
    uid = api.get(DEPLOYMENT)["metadata"]["uid"]
    api.delete(DEPLOYMENT)
    _eventually(lambda: api.exists(DEPLOYMENT) and api.get(DEPLOYMENT)["metadata"]["uid"] != uid, "it is made again")
    api.patch(f"{MODELS}/digits", {"spec": {"autoscaling": None, "replicas": 1}})
    _eventually(lambda: not api.exists(AUTOSCALER), "the autoscaler goes")
    _eventually(lambda: not api.exists(BUDGET), "the disruption budget goes")
    for version in (1, 2):
        api.patch(f"{MODELS}/digits", {"spec": {"model": {"version": version}, "rollout": {"revisionHistoryLimit": 1}}})
        wanted = version + 1
        _eventually(lambda: api.get(f"{MODELS}/digits")["status"]["updateRevision"] == wanted, "a revision is made")  # noqa: B023
    _eventually(lambda: not api.exists(REVISION), "the first revision is forgotten")
    api.create(SERVICES, FOREIGN_SERVICE)
    api.create(MODELS, {**MODEL, "metadata": {"name": "taken"}})
    _eventually(
        lambda: "taken" in [told["regarding"]["name"] for told in api.get(EVENTS)["items"]], "the conflict is told"
    )
    api.delete(f"{MODELS}/taken")
    api.delete(f"{MODELS}/digits")
    may = {(resource, verb) for resource, verbs in (GRANTED | LEASE).items() for verb in verbs}

    def unused() -> set[Right]:
        return may - APPLIED - RARE - {(resource, verb) for resource, verb, _ in list(_requested(plane))[before:]}

    _eventually(lambda: not unused(), "each right is used")  # a request is logged a moment after it was answered
    requested = list(_requested(plane))[before:]
    assert [entry for entry in requested if entry[2] in (401, 403)] == []
    assert {(resource, verb) for resource, verb, _ in requested} <= may
