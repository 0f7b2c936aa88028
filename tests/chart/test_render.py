"""What the chart makes of its values."""

import pytest

from slipway import settings
from slipway.__main__ import pods_of
from slipway.api import Resources
from slipway.domain.pod_defaults import PodDefaults
from tests.chart.conftest import CHART, NAMESPACE, VALUES, Render, Rendered, Run

DIGEST = "sha256:" + "0" * 64


def test_the_operator_by_default(render: Render) -> None:
    found = render()
    container = found.operator()
    assert container["image"] == "slipway/operator:0.1.0"
    assert container["args"] == [
        "--runtime-image=tensorflow/serving",
        "--runtime-version=2.20.0",
        "--tools-image=slipway/tools:0.1.0",
        "--image-pull-policy=IfNotPresent",
        '--prober-resources={"limits":{"memory":"256Mi"},"requests":{"cpu":"10m","memory":"64Mi"}}',
        "--pod-run-as-user=65532",
        "--pod-run-as-group=65532",
        "--pod-fs-group=65532",
        "--metrics-bind-address=0.0.0.0:8080",
        "--health-probe-bind-address=0.0.0.0:8081",
        "--leader-elect",
        f"--leader-election-namespace={NAMESPACE}",
        "--leader-election-id=slipway-operator",
        "--workers=16",
        "--resync-seconds=600",
        "--log-format=text",
        "--log-level=info",
    ]
    for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        assert container[probe]["httpGet"] == {"path": path, "port": "health"}
    assert {port["name"]: port["containerPort"] for port in container["ports"]} == {"metrics": 8080, "health": 8081}
    assert container["resources"].keys() == {"requests", "limits"}
    assert found.one("Deployment")["spec"]["replicas"] == 1
    assert {entry["kind"] for entry in found.objects} == {
        "ClusterRole",
        "ClusterRoleBinding",
        "CustomResourceDefinition",
        "Deployment",
        "Role",
        "RoleBinding",
        "Service",
        "ServiceAccount",
    }


@pytest.mark.parametrize("values", VALUES)
def test_every_container_is_restricted(render: Render, values: str) -> None:
    pod = render(values).one("Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@pytest.mark.parametrize("values", VALUES)
def test_selectors_select_and_never_change(render: Render, values: str) -> None:
    found = render(values)
    deployment = found.one("Deployment")
    selector = deployment["spec"]["selector"]["matchLabels"]
    assert selector.keys() == {"app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component"}
    assert selector.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
    assert found.one("Service")["spec"]["selector"] == selector
    for budget in found.kind("PodDisruptionBudget") + found.kind("NetworkPolicy"):
        spec = budget["spec"]
        assert spec.get("selector", spec.get("podSelector"))["matchLabels"] == selector
    for entry in found.objects:
        assert entry["metadata"]["labels"]["helm.sh/chart"] == "slipway-0.1.0", entry["kind"]


LOCAL_VOLUMES = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"


@pytest.mark.parametrize("values", VALUES)
def test_an_autoscaler_may_move_the_operator(render: Render, values: str) -> None:
    template = render(values).one("Deployment")["spec"]["template"]
    local = [volume["name"] for volume in template["spec"]["volumes"] if "emptyDir" in volume]
    assert template["metadata"]["annotations"][LOCAL_VOLUMES].split(",") == local
    assert template["spec"]["nodeSelector"]["kubernetes.io/os"] == "linux"


def test_labels_and_annotations_of_the_pod_replace_those_of_the_chart(render: Render) -> None:
    """And are written once: a YAML map with the same key twice is none."""
    key = LOCAL_VOLUMES.replace(".", "\\.")
    found = render("default", f"podAnnotations.{key}=other", "commonLabels.team=all", "podLabels.team=one")
    metadata = found.one("Deployment")["spec"]["template"]["metadata"]
    assert metadata["annotations"][LOCAL_VOLUMES] == "other"
    assert metadata["labels"]["team"] == "one"
    assert found.text.count(f"{LOCAL_VOLUMES}:") == 1
    assert found.one("Service")["metadata"]["labels"]["team"] == "all"


def test_everything_lies_where_it_should(render: Render) -> None:
    found = render("everything")
    placed = {entry["kind"]: entry["metadata"].get("namespace") for entry in found.objects}
    assert placed == {
        "ClusterRole": None,
        "ClusterRoleBinding": None,
        "CustomResourceDefinition": None,
        "Deployment": "elsewhere",
        "Role": "elsewhere",
        "RoleBinding": "elsewhere",
        "Service": "elsewhere",
        "ServiceAccount": "elsewhere",
    }
    for entry in found.objects:
        assert entry["metadata"]["labels"]["example.com/cluster"] == "test"
        assert entry["metadata"]["labels"]["app.kubernetes.io/name"] == "models"
        if entry["kind"] not in ("CustomResourceDefinition", "ServiceAccount"):
            assert entry["metadata"]["name"].startswith("model-operator")


def test_everything_that_may_be_set_arrives(render: Render) -> None:
    found = render("everything")
    container, spec = found.operator(), found.one("Deployment")["spec"]["template"]["spec"]
    assert container["image"] == f"registry.example.com/slipway/operator@{DIGEST}"
    assert container["imagePullPolicy"] == "Always"
    assert "--tools-image=registry.example.com/slipway/tools:1.0" in container["args"]
    assert "--leader-election-id=elected" in container["args"]
    assert "--leader-election-namespace=elsewhere" in container["args"]
    assert container["args"][-1] == "--workers=8"
    assert container["env"] == [{"name": "TZ", "value": "UTC"}]
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert spec["serviceAccountName"] == "operator"
    assert spec["nodeSelector"] == {"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    assert spec["tolerations"] == [{"key": "dedicated", "operator": "Exists"}]
    assert "nodeAffinity" in spec["affinity"]
    assert spec["priorityClassName"] == "system-cluster-critical"
    metadata = found.one("Deployment")["spec"]["template"]["metadata"]
    assert metadata["labels"]["team"] == "platform"
    assert metadata["annotations"]["example.com/note"] == "1"
    assert found.one("Service")["metadata"]["annotations"] == {"example.com/note": "1"}
    assert found.one("ServiceAccount")["metadata"]["annotations"] == {"example.com/owner": "platform"}


def test_the_crd_is_kept_unless_it_is_not_wanted(render: Render) -> None:
    assert render().one("CustomResourceDefinition")["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert render("everything").one("CustomResourceDefinition")["metadata"]["annotations"] == {
        "example.com/owner": "platform"
    }
    assert "annotations" not in render("default", "crds.keep=false").one("CustomResourceDefinition")["metadata"]
    assert render("default", "crds.install=false").kind("CustomResourceDefinition") == []


def test_the_drop_in_server_is_one_value(render: Render) -> None:
    args = render("default", "runtime.image.repository=slipway/model-server").operator()["args"]
    assert "--runtime-image=slipway/model-server" in args


def test_available(render: Render) -> None:
    found = render("available")
    assert found.one("Deployment")["spec"]["replicas"] == 2
    assert found.one("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    policy = found.one("NetworkPolicy")["spec"]
    assert [port["port"] for rule in policy["egress"] for port in rule["ports"]] == [53, 53, 443, 6443]
    assert policy["ingress"][0]["from"]
    assert render().kind("PodDisruptionBudget") == []
    assert render("available", "podDisruptionBudget.enabled=false").kind("PodDisruptionBudget") == []


def test_monitoring(render: Render) -> None:
    found = render("monitoring")
    (endpoint,) = found.one("ServiceMonitor")["spec"]["endpoints"]
    assert (endpoint["port"], endpoint["path"], endpoint["interval"]) == ("metrics", "/metrics", "30s")
    selector = found.one("ServiceMonitor")["spec"]["selector"]["matchLabels"]
    assert selector.items() <= found.one("Service")["metadata"]["labels"].items()
    models = found.one("PodMonitor")["spec"]
    assert models["selector"]["matchLabels"]["app.kubernetes.io/component"] == "model-server"
    assert models["namespaceSelector"] == {"any": True}
    server, prober = models["podMetricsEndpoints"]
    assert (server["port"], server["path"]) == ("http", "/monitoring/prometheus/metrics")
    assert (prober["port"], prober["path"]) == ("prober", "/metrics")
    assert [rule["targetLabel"] for rule in server["relabelings"]] == ["model_deployment", "revision"]
    assert [rule["targetLabel"] for rule in prober["relabelings"]] == ["model_deployment"]  # it has the revision itself
    common = ("interval", "scrapeTimeout", "metricRelabelings")
    assert [prober[key] for key in common] == [server[key] for key in common]
    limited = render("monitoring", "watch.namespaces={team-a}").one("PodMonitor")["spec"]
    assert limited["namespaceSelector"] == {"matchNames": ["team-a"]}


def test_without_an_election_the_old_one_goes_first(render: Render) -> None:
    found = render("bare")
    assert "--no-leader-elect" in found.operator()["args"]
    assert found.one("Deployment")["spec"]["strategy"] == {"type": "Recreate"}
    assert found.one("Deployment")["spec"]["template"]["spec"]["serviceAccountName"] == "made-elsewhere"
    assert {entry["kind"] for entry in found.objects} == {"Deployment", "Service"}


@pytest.mark.parametrize(
    ("release", "name"), [("slipway", "slipway"), ("my-slipway", "my-slipway"), ("models", "models-slipway")]
)
def test_names_follow_the_release(render: Render, release: str, name: str) -> None:
    found = render(release=release)
    assert found.one("Deployment")["metadata"]["name"] == name
    assert f"--leader-election-id={name}-operator" in found.operator()["args"]


def test_the_longest_release_name_makes_valid_names(render: Render) -> None:
    found = render(release="r" * 53)
    assert all(len(entry["metadata"]["name"]) <= 63 for entry in found.objects)


def test_numbers_stay_numbers(render: Render) -> None:
    """Helm reads numbers as floats and would write 86400 as 86400, but 1000000 as 1e+06."""
    args = render("default", "resyncSeconds=86400", "workers=256").operator()["args"]
    assert {"--resync-seconds=86400", "--workers=256"} <= set(args)


@pytest.mark.parametrize("values", VALUES)
def test_the_operator_understands_its_arguments(render: Render, values: str) -> None:
    chosen = settings.parse(render(values).operator()["args"], {})
    assert chosen.leader_election_namespace in (NAMESPACE, "elsewhere")
    assert chosen.leader_elect == (values != "bare")
    assert chosen.namespaces == (("team-a", "team-b") if values == "namespaced" else ())
    assert (chosen.metrics_bind_address.port, chosen.health_probe_bind_address.port) == (8080, 8081)


def test_defaults_are_the_operators_own(render: Render) -> None:
    """Who runs the operator by hand and who installs the chart get the same."""
    assert settings.parse(render().operator()["args"], {}) == settings.parse([], {})


def parsed(found: Rendered) -> PodDefaults:
    """What the operator makes of its arguments, as far as pods are concerned."""
    return pods_of(settings.parse(found.operator()["args"], {}))


@pytest.mark.parametrize("nothing", ["null", ""])
def test_a_cluster_that_assigns_identities_gets_pods_without(render: Render, nothing: str) -> None:
    """OpenShift's restricted-v2 refuses pods that ask for a user or group outside of the range of their namespace."""
    sets = [f"modelPods.{field}={nothing}" for field in ("runAsUser", "runAsGroup", "fsGroup")]
    found = parsed(render("default", *sets))
    assert (found.run_as_user, found.run_as_group, found.fs_group) == (None, None, None)
    assert found.identities == {}


def test_the_charts_own_pods_ask_for_no_identity(render: Render, helm: Run) -> None:
    pods = [render().one("Deployment")["spec"]["template"]["spec"]]
    pods += [found["spec"] for found in Rendered(helm("template", "s", CHART).stdout).kind("Pod")]
    for pod in pods:
        for context in (pod["securityContext"], *(entry["securityContext"] for entry in pod["containers"])):
            assert not {"runAsUser", "runAsGroup", "fsGroup", "supplementalGroups"} & context.keys()


def test_identities_and_resources_of_model_pods(render: Render) -> None:
    found = parsed(render("everything"))
    assert (found.run_as_user, found.run_as_group, found.fs_group) == (1000, 0, 2000)
    assert found.fetch_resources == Resources(requests={"cpu": "50m"}, limits={"cpu": "0.5", "memory": "1000000000"})
    assert found.prober_resources.requests == {"cpu": "50m", "memory": "64Mi"}
    assert (found.ca_config_map, found.ca_key) == ("authorities", "ca-bundle.crt")


def test_resources_of_the_test_pod_can_be_set(helm: Run) -> None:
    """A quota may demand limits of it, too."""
    done = helm("template", "s", CHART, "--set", "test.resources.limits.cpu=100m")
    (pod,) = Rendered(done.stdout).kind("Pod")
    assert pod["spec"]["containers"][0]["resources"]["limits"] == {"cpu": "100m", "memory": "128Mi"}
