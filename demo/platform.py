"""First steps: a cluster, the three images in it, and the chart installed. The e2e tests start with the same."""

import json
from dataclasses import dataclass
from pathlib import Path

from cluster import ClusterError, binaries
from demo import manifests
from demo.console import Console
from demo.errors import DemoError
from demo.kubectl import Kubectl
from demo.shell import ROOT, python, read, show

CHART = ROOT / "charts" / "slipway"
RELEASE = "slipway"
OPERATOR_NAMESPACE = "slipway-system"
OPERATOR_SELECTOR = "app.kubernetes.io/name=slipway"
DROP_IN = "slipway/model-server"


@dataclass(frozen=True)
class Options:
    """What `python -m demo up` was asked for.

    Attributes:
        cluster: name of the cluster.
        install_packages: let `cluster` and `images` install missing packages of the distribution.
        upstream: serve with tensorflow/serving, which the cluster then pulls, instead of the drop-in.
    """

    cluster: str = "slipway"
    install_packages: bool = False
    upstream: bool = False

    @property
    def packages(self) -> list[str]:
        """Return the flag that cluster and images understand."""
        return ["--install-packages"] if self.install_packages else []


def kubectl(cluster: str) -> Kubectl:
    """Return the way to a cluster that is up.

    Raises:
        DemoError: it is not.
    """
    path = Path(read(python("-m", "cluster", "kubeconfig", f"--name={cluster}")).strip())
    if not path.is_file():
        raise DemoError(f"the cluster {cluster} is not up: `python -m cluster up --name={cluster}` starts it")
    return Kubectl(tool("kubectl"), path)


def tool(name: str) -> Path:
    """Return the path of kubectl or helm, built where the cache lacks it."""
    try:
        return binaries.ensure(name)
    except ClusterError as error:
        raise DemoError(str(error)) from None


def up(options: Options, console: Console) -> Kubectl:
    """Start the cluster, bring the images into it and install the chart; what is there already is kept."""
    with console.step("cluster"):
        show(console, python("-m", "cluster", "up", f"--name={options.cluster}", *options.packages))
    with console.step("images"):
        built = json.loads(show(console, python("-m", "images.build", "--json", *options.packages)))
        archives = [str(image["archive"]) for image in built]
        show(console, python("-m", "cluster", "load", f"--name={options.cluster}", *archives))
    client = kubectl(options.cluster)
    with console.step("operator"):
        [operator] = [Path(image["archive"]).stem for image in built if image["name"] == "operator"]
        # The tag stays while the content changes during development; this restarts the operator when it did.
        values = [f"podAnnotations.image-content={operator}"]
        install(client, console, values + ([] if options.upstream else [f"runtime.image.repository={DROP_IN}"]))
    return client


def install(client: Kubectl, console: Console, values: list[str]) -> None:
    """Install or upgrade the chart in a namespace that enforces the restricted standard, and wait until it runs.

    Raises:
        DemoError: helm failed.
    """
    client.apply(manifests.namespace(OPERATOR_NAMESPACE))
    flags = [f"--set={value}" for value in values]
    argv: list[str | Path] = [tool("helm"), "upgrade", "--install", RELEASE, CHART, f"--namespace={OPERATOR_NAMESPACE}"]
    said = read([*argv, f"--kubeconfig={client.kubeconfig}", "--wait", "--timeout=5m", "--output=json", *flags], 400)
    release = json.loads(said[said.index("{") :])
    console.detail(
        f"chart {release['chart']['metadata']['version']}, release {release['version']}, {release['info']['status']}"
    )


def uninstall(client: Kubectl) -> None:
    """Remove the chart and its namespace; ModelDeployments elsewhere stay, as the chart keeps their definition."""
    read([tool("helm"), "uninstall", RELEASE, f"--namespace={OPERATOR_NAMESPACE}", f"--kubeconfig={client.kubeconfig}",
          "--ignore-not-found", "--wait"])  # fmt: skip
    client.run("delete", "namespace", OPERATOR_NAMESPACE, "--ignore-not-found", timeout=180)
