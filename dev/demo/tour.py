"""Last steps: serve the digits, predict the whole test split, show what can be seen, say what to try next."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dev.cluster import DEFAULT_NAME
from dev.demo import progress, report
from dev.errors import DevError
from dev.kit import reach
from dev.kit.console import Console
from dev.kit.example_models import Published
from dev.kit.installation import operator_metrics, pod_page
from dev.kit.kubectl import Kubectl
from dev.kit.prediction import Array, connect, predict_all, rest_digits
from dev.repository import ROOT

NAME = "digits"
RESOURCE = ROOT / "examples" / "digits.yaml"
READY_SECONDS = 300
REST_CALLS = 60


@dataclass(frozen=True)
class Test:
    """The test split as training left it."""

    images: Array
    digits: Array

    @classmethod
    def load(cls, path: Path) -> "Test":
        """Read test.npz."""
        with np.load(path) as file:
            return cls(file["inputs"], file["targets"])


def serve(kubectl: Kubectl, published: Published, console: Console) -> None:
    """Apply examples/digits.yaml and wait, with what happens on the terminal, until it serves what was published."""
    console.detail(f"$ kubectl apply -n {kubectl.namespace} -f {RESOURCE.relative_to(ROOT)}")
    console.detail(kubectl.apply_file(RESOURCE).stdout)
    state = progress.wait(kubectl, NAME, READY_SECONDS, console.detail)
    if state["status"].get("digest") != published.digest:
        # Pods that run already keep what they fetched; another version is another revision.
        console.detail(f"version {published.version} is new: rolling it out")
        kubectl.patch("modeldeployment", NAME, {"spec": {"model": {"version": published.version}}})
        state = progress.wait(kubectl, NAME, READY_SECONDS, console.detail)
    if state["status"].get("digest") != published.digest:
        raise DevError(f"{NAME} serves {state['status'].get('digest')}, published was {published.digest}")


def evaluate(kubectl: Kubectl, test: Test, console: Console) -> bool:
    """Send the test split over gRPC and REST from here; return whether both were right often enough."""
    with reach.service(kubectl, NAME) as route, connect(route.grpc) as predictor:
        single = predict_all(predictor, NAME, {"image": test.images}, 1)
        batched = predict_all(predictor, NAME, {"image": test.images}, 32)
        console.detail(f"requested from outside the pods, through the {route.words}")
        rest = rest_digits(f"{route.http}/v1/models/{NAME}:predict", test.images[:REST_CALLS])
    grpc_accuracy = report.accuracy(np.asarray(single.answers["digit"]), test.digits)
    rest_accuracy = report.accuracy(rest, test.digits[: len(rest)])
    console.detail(report.latencies([("gRPC, 1 image", single), ("gRPC, 32 images", batched)]))
    right = round(grpc_accuracy * len(test.digits))
    console.detail(
        f"served accuracy: gRPC {grpc_accuracy:.4f} ({right} of {len(test.digits)}), REST {rest_accuracy:.4f} ({len(rest)} requested)"
    )
    return min(grpc_accuracy, rest_accuracy) >= report.REQUIRED_ACCURACY


def show(kubectl: Kubectl, console: Console) -> None:
    """Print the resource as kubectl lists it, its status, and a slice of the metrics of server and operator."""
    console.detail(f"$ kubectl get mdep -n {kubectl.namespace}")
    console.detail(kubectl.run("get", "mdep").stdout)
    console.detail(f"\n$ kubectl get mdep {NAME} -o jsonpath='{{.status}}'")
    resource = kubectl.get("modeldeployment", NAME) or {}
    console.detail(json.dumps(resource.get("status", {}), indent=2))
    for pod in kubectl.items("pods", f"serving.slipway.dev/name={NAME}"):
        console.detail(f"\nmetrics of {pod['metadata']['name']} (port 8501, /monitoring/prometheus/metrics)")
        page = pod_page(kubectl, pod, reach.REST_PORT, "monitoring/prometheus/metrics")
        console.detail("\n".join(report.metric_lines(page, report.SERVER_METRICS)) or "it has had no requests yet")
    console.detail("\nmetrics of the operator (port 8080, /metrics)")
    console.detail("\n".join(report.metric_lines(operator_metrics(kubectl), report.OPERATOR_METRICS)))


def next_steps(kubectl: Kubectl, cluster: str) -> str:
    """Return what a newcomer can type now, with a cluster of this name."""
    named = "" if cluster == DEFAULT_NAME else f"SLIPWAY_CLUSTER={cluster} "
    return f"""\
export KUBECONFIG={kubectl.kubeconfig} PATH=$PATH:{kubectl.program.parent}
kubectl config set-context --current --namespace={kubectl.namespace}

scale it    kubectl scale mdep {NAME} --replicas=3
watch it    kubectl get mdep -w
break it    kubectl patch mdep {NAME} --type=merge -p '{{"spec":{{"model":{{"version":99}}}}}}'
            kubectl describe mdep {NAME}      # says why, and the old pods go on serving
mend it     kubectl apply -f {RESOURCE}
kill a pod  kubectl delete pod -l serving.slipway.dev/name={NAME} --wait=false
read on     kubectl explain mdep.spec
more        examples/README.md: gates, pins, a GPU, batching, archives; for autoscaling, {named}make cluster first
delete it   kubectl delete mdep {NAME}
the end     {named}make demo-down"""
