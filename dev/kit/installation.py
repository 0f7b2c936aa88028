"""An installed Slipway: a cluster, the three images in it, and the chart; and how its pods are reached."""

import json
from dataclasses import dataclass
from pathlib import Path

from dev.cluster import binaries
from dev.errors import DevError
from dev.kit import manifests
from dev.kit.console import Console, beginning, show
from dev.kit.kubectl import Kubectl, Manifest
from dev.repository import ROOT
from dev.shell import python, run

CHART = ROOT / "charts" / "slipway"
RELEASE = "slipway"
OPERATOR_NAMESPACE = "slipway-system"
OPERATOR_SELECTOR = "app.kubernetes.io/name=slipway"
DROP_IN = "slipway/model-server"


@dataclass(frozen=True)
class Options:
    """The options of `python -m dev.demo up`.

    Attributes:
        cluster: name of the cluster.
        install_packages: let `cluster` and `images` install missing packages of the distribution.
        upstream: serve with tensorflow/serving, which the cluster then pulls, instead of the drop-in.
        metrics: resource metrics, which autoscaling needs, even if metrics-server has to be built for them.
        authorities: ConfigMap of each namespace with certificates of authorities that fetch accepts; empty: none.
    """

    cluster: str = "slipway"
    install_packages: bool = False
    upstream: bool = False
    metrics: bool = True
    authorities: str = ""

    @property
    def packages(self) -> list[str]:
        """Return the flag that cluster and images understand."""
        return ["--install-packages"] if self.install_packages else []


def kubectl(cluster: str) -> Kubectl:
    """Return the way to a cluster that is up.

    Raises:
        DevError: it is not.
    """
    path = Path(run(python("-m", "dev.cluster", "kubeconfig", f"--name={cluster}"), cwd=ROOT).strip())
    if not path.is_file():
        raise DevError(f"the cluster {cluster} is not up: `python -m dev.cluster up --name={cluster}` starts it")
    return Kubectl(tool("kubectl"), path)


def tool(name: str) -> Path:
    """Return the path of kubectl or helm, built if it is not in the cache."""
    return binaries.ensure(name)


def up(options: Options, console: Console) -> Kubectl:
    """Start the cluster, bring the images into it and install the chart; what is there already is kept."""
    # The images are built meanwhile: a cold build of them waits for downloads, that of the cluster for the processors.
    with beginning(python("-m", "images.build", "--json", *options.packages)) as finish_images:
        with console.step("cluster"):
            metrics = [] if options.metrics else ["--no-metrics"]
            show(console, python("-m", "dev.cluster", "up", f"--name={options.cluster}", *options.packages, *metrics))
        with console.step("images"):
            built = json.loads(finish_images(console))
            archives = [str(image["archive"]) for image in built]
            show(console, python("-m", "dev.cluster", "load", f"--name={options.cluster}", *archives))
    client = kubectl(options.cluster)
    with console.step("operator"):
        [operator] = [Path(image["archive"]).stem for image in built if image["name"] == "operator"]
        # The tag stays while the content changes during development; this restarts the operator when it did.
        values = [f"podAnnotations.image-content={operator}"]
        values += [] if options.upstream else [f"runtime.image.repository={DROP_IN}"]
        values += [f"modelPods.caBundle.configMap={options.authorities}"] if options.authorities else []
        install(client, console, values)
    return client


def install(client: Kubectl, console: Console, values: list[str]) -> None:
    """Install or upgrade the chart in a namespace that enforces the restricted standard, and wait until it runs.

    Raises:
        DevError: helm failed, or the operator does not become ready.
    """
    client.apply(manifests.namespace(OPERATOR_NAMESPACE))
    _finish_interrupted(client)
    flags = [f"--set={value}" for value in values]
    # Without --wait: an interrupted wait would leave the release locked.
    said = _helm(client, "upgrade", "--install", RELEASE, str(CHART), "--output=json", *flags)
    release = json.loads(said[said.index("{") :])
    console.detail(f"chart {release['chart']['metadata']['version']}, release {release['version']}")
    system = client.within(OPERATOR_NAMESPACE)
    for deployment in system.items("deployments", OPERATOR_SELECTOR):
        name = f"deployment/{deployment['metadata']['name']}"
        try:
            console.detail(system.run("rollout", "status", name, "--timeout=120s", timeout=130).stdout)
        except DevError as error:
            raise DevError(f"{error}\n{_operator_words(system)}") from None


def _finish_interrupted(client: Kubectl) -> None:
    """Go back from an upgrade, or drop an install, that was cut off: helm refuses to work on a release in between."""
    listed = json.loads(_helm(client, "list", f"--filter=^{RELEASE}$", "--output=json"))
    state = str(listed[0]["status"]) if listed else ""
    if state == "pending-install":
        _helm(client, "uninstall", RELEASE)
    elif state.startswith("pending"):
        _helm(client, "rollback", RELEASE)


def _helm(client: Kubectl, *arguments: str) -> str:
    flags = [f"--namespace={OPERATOR_NAMESPACE}", f"--kubeconfig={client.kubeconfig}"]
    return run([tool("helm"), *arguments, *flags])


def _operator_words(system: Kubectl) -> str:
    """Return what the operator's pods and their logs say."""
    said = [system.run("get", "pods", f"--selector={OPERATOR_SELECTOR}").stdout]
    said += [system.run("logs", f"--selector={OPERATOR_SELECTOR}", "--tail=10", "--prefix").stdout]
    return "".join(said)


def uninstall(client: Kubectl) -> None:
    """Remove the chart and its namespace; ModelDeployments elsewhere stay, as the chart keeps their definition."""
    _helm(client, "uninstall", RELEASE, "--ignore-not-found", "--wait")
    client.run("delete", "namespace", OPERATOR_NAMESPACE, "--ignore-not-found", timeout=180)


def operator_metrics(kubectl: Kubectl) -> str:
    """Return the metrics page of the operator pod that leads, through the API server."""
    system = kubectl.within(OPERATOR_NAMESPACE)
    pages = [pod_page(system, pod, 8080, "metrics") for pod in system.items("pods", OPERATOR_SELECTOR)]
    if not pages:
        raise DevError(f"no operator pod runs in {OPERATOR_NAMESPACE}")
    return max(pages, key=len)


def pod_page(kubectl: Kubectl, pod: Manifest, port: int, path: str) -> str:
    """Return what a pod answers to a GET, through the API server."""
    name = pod["metadata"]["name"]
    return kubectl.run("get", "--raw", f"/api/v1/namespaces/{kubectl.namespace}/pods/{name}:{port}/proxy/{path}").stdout
