"""Command line of the main job: `python -m dev.demo up` and `python -m dev.demo down`.

`up` exits with 0 only if the served model is as good as it should be.
"""

import argparse
import os
import shutil
import sys

from dev.cluster import DEFAULT_NAME
from dev.demo import bad_version, tour
from dev.demo.report import REQUIRED_ACCURACY
from dev.errors import DevError
from dev.kit import example_models, installation
from dev.kit.console import Console, show
from dev.shell import python

NAMESPACE = "slipway-demo"


def main() -> int:
    """Parse the command line, run, and turn what users can act on into one sentence. Returns the exit status."""
    options = _parser().parse_args()
    console = Console()
    try:
        return up(options, console) if options.command == "up" else down(options, console)
    except DevError as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; `make demo` goes on from here, `make demo-down` cleans up", file=sys.stderr)
        return 130


def up(options: argparse.Namespace, console: Console) -> int:
    """From nothing, or from whatever is there already, to a model that answers predictions."""
    wanted = installation.Options(options.name, options.install_packages, options.upstream, metrics=False)
    kubectl = installation.up(wanted, console).within(NAMESPACE)
    digits = example_models.of(tour.NAME)
    shuffled = example_models.of(bad_version.NAME)
    with console.step("train"):
        example_models.train(digits, console)
        example_models.train(shuffled, console)
    with console.step("publish"):
        example_models.prepare_volume(kubectl)
        published = example_models.publish(kubectl, digits.name, digits.folder)
        console.detail(f"pvc://models/{digits.name}, version {published.version}, {published.digest}")
        console.detail(f"golden set: ConfigMap {example_models.publish_golden(kubectl, digits)}")
    with console.step("serve"):
        tour.serve(kubectl, published, console)
    with console.step("predict"):
        test = tour.Test.load(digits.root / "test.npz")
        good = tour.evaluate(kubectl, test, console)
    with console.step("push a bad version"):
        bad_version.push(kubectl, shuffled, test, console)
    with console.step("take it back"):
        bad_version.take_back(kubectl, published, console)
    with console.step("look"):
        tour.show(kubectl, console)
    with console.step("what to try next"):
        console.detail(tour.next_steps(kubectl, options.name))
    console.summary()
    if not good:
        raise DevError(f"the served model was right in less than {REQUIRED_ACCURACY:.0%} of the cases")
    return 0


def down(options: argparse.Namespace, console: Console) -> int:
    """Remove what `up` made: models, operator, cluster and trained files. What is gone already is no error."""
    with console.step("models and operator"):
        _remove_from_cluster(options.name, console)
    with console.step("cluster"):
        show(console, python("-m", "dev.cluster", "down", f"--name={options.name}"))
    shutil.rmtree(example_models.TRAINED, ignore_errors=True)
    return 0


def _remove_from_cluster(name: str, console: Console) -> None:
    try:
        kubectl = installation.kubectl(name)
        models = kubectl.within(NAMESPACE)
        models.run("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=false")
        models.run("delete", "pods", "--all", "--grace-period=1", "--wait=false")  # there are no clients left
        installation.uninstall(kubectl)
        models.run("wait", "--for=delete", f"namespace/{NAMESPACE}", "--timeout=170s", timeout=180)
    except DevError as error:
        # The cluster itself goes next, and a cluster that does not answer is a reason to run `down`.
        console.detail(f"not removed: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dev.demo", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("up", help="cluster, images, chart; train, publish, serve, predict")
    start.add_argument("--install-packages", action="store_true", help="install missing packages of the distribution")
    start.add_argument(
        "--upstream",
        action="store_true",
        help="serve with tensorflow/serving, which the cluster must be able to pull, instead of the drop-in",
    )
    stop = commands.add_parser("down", help="remove what `up` made, the local cluster included")
    for command in (start, stop):
        command.add_argument(
            "--name",
            default=os.environ.get("SLIPWAY_CLUSTER", DEFAULT_NAME),
            help=f"name of the cluster (environment: SLIPWAY_CLUSTER; default: {DEFAULT_NAME})",
        )
    return parser


if __name__ == "__main__":
    sys.exit(main())
