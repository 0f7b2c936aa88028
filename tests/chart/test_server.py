"""The chart on a real API server: nothing is unknown, nothing is warned of, and Helm's life cycle does what it says."""

import json
from pathlib import Path

import pytest
import yaml

from dev.cluster.controlplane import ControlPlane
from dev.kit.eventually import eventually
from tests.chart.conftest import CHART, NAMESPACE, ROOT, VALUES, Manifest, Render, Rendered, Run, as_list

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/modeldeployments.serving.slipway.dev"
FOREIGN = ("ServiceMonitor", "PodMonitor")  # belong to the Prometheus operator; the API server knows none here


@pytest.mark.parametrize("values", VALUES)
def test_the_server_accepts_all_of_it_without_a_warning(render: Render, kubectl: Run, values: str) -> None:
    """The namespaces enforce the restricted Pod Security Standard, and warn of every workload that breaks it."""
    objects = [found for found in render(values).objects if found["kind"] not in FOREIGN]
    done = kubectl("apply", "--dry-run=server", "--validate=strict", "--filename", "-", body=as_list(objects))
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == len(objects)


def test_the_server_would_have_warned(render: Render, kubectl: Run) -> None:
    """The negative control of the test above."""
    found = render("default", "podSecurityContext.runAsNonRoot=false").one("Deployment")
    done = kubectl("apply", "--dry-run=server", "--filename", "-", body=as_list([found]))
    assert 'would violate PodSecurity "restricted' in done.stderr


@pytest.mark.parametrize("values", ["default", "everything"])
def test_the_test_pod_is_admitted(helm: Run, kubectl: Run, values: str) -> None:
    done = helm("template", "slipway", CHART, "--namespace", NAMESPACE, "--values", VALUES[values])
    (pod,) = Rendered(done.stdout).kind("Pod")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    answer = kubectl("create", "--dry-run=server", "--validate=strict", "--filename", "-", body=json.dumps(pod))
    assert answer.stderr == ""


def test_the_test_pod_is_no_operator(helm: Run) -> None:
    """The Service must not send anybody to it."""
    found = Rendered(helm("template", "slipway", CHART).stdout)
    (pod,) = found.kind("Pod")
    assert not found.one("Service")["spec"]["selector"].items() <= pod["metadata"]["labels"].items()


@pytest.fixture
def release(helm: Run, plane: ControlPlane, tmp_path: Path) -> Run:
    """helm against the API server, in a namespace of its own."""

    def run(*arguments: str | Path, check: bool = True) -> object:
        return helm("--kubeconfig", plane.kubeconfig(), "--namespace", "installed", *arguments, check=check)

    return run  # type: ignore[return-value]


def _everything(plane: ControlPlane) -> dict[str, Manifest]:
    api = plane.api()
    paths = (
        "/apis/apps/v1/namespaces/installed/deployments/slipway",
        "/api/v1/namespaces/installed/services/slipway",
        "/api/v1/namespaces/installed/serviceaccounts/slipway",
        "/apis/rbac.authorization.k8s.io/v1/clusterroles/slipway",
        "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/slipway",
        "/apis/rbac.authorization.k8s.io/v1/namespaces/installed/roles/slipway-leader",
        CRDS,
    )
    return {path: api.get(path) for path in paths}


def test_install_upgrade_and_uninstall(release: Run, plane: ControlPlane) -> None:
    installed = release("install", "slipway", CHART)
    assert "warning" not in installed.stderr.lower()
    assert "kubectl --namespace installed rollout status deployment/slipway" in installed.stdout
    assert "kind: ModelDeployment" in installed.stdout

    before = _everything(plane)
    release("upgrade", "slipway", CHART)
    after = _everything(plane)
    for path, body in before.items():
        assert after[path]["metadata"]["resourceVersion"] == body["metadata"]["resourceVersion"], path

    api, mine = plane.api(), "/apis/serving.slipway.dev/v1alpha1/namespaces/installed/modeldeployments"
    eventually(lambda: api.healthy(mine), "the API server serves the kind")
    model = {"metadata": {"name": "kept"}, "spec": {"model": {"uri": "pvc://models/kept"}}}
    api.create(mine, {"apiVersion": "serving.slipway.dev/v1alpha1", "kind": "ModelDeployment", **model})
    release("uninstall", "slipway")
    assert api.exists(f"{mine}/kept")
    assert api.exists(CRDS)
    assert not api.exists("/apis/apps/v1/namespaces/installed/deployments/slipway")
    assert not api.exists("/apis/rbac.authorization.k8s.io/v1/clusterroles/slipway")

    release("install", "slipway", CHART)  # and takes the definition over again
    assert api.exists(f"{mine}/kept")
    release("uninstall", "slipway")
    api.delete(f"{mine}/kept")
    api.delete(CRDS)


def test_the_charts_crd_is_the_generated_one(render: Render) -> None:
    generated = yaml.safe_load((ROOT / "crds" / "serving.slipway.dev_modeldeployments.yaml").read_text())
    rendered = render().one("CustomResourceDefinition")
    assert rendered["spec"] == generated["spec"]
    assert rendered["metadata"]["name"] == generated["metadata"]["name"]
