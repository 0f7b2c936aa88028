"""Rollouts on real pods in numbers: `python -m dev.bench.rollouts [--name CLUSTER] [--rounds N]`.

    to Ready                 from `kubectl apply` until the model is served, without and with a gate of 200 examples
    from bad spec to rollback   from `kubectl apply` until the status says that it is rolled back, by kind of failure
    requests meanwhile       sent by four clients all the time, and how many failed
    the prober                its memory and CPU time

It brings up what is missing (cluster, images, chart, models), works in a namespace of its own and removes it. Nothing else
should run meanwhile: the start of the model server is most of every number, and it is bound by the CPU.
"""

import argparse
import os
import sys
import uuid

from dev.bench.rollout_rounds import Rounds
from dev.bench.table import grid
from dev.kit import manifests
from dev.kit.preparation import prepare
from dev.kit.tiny_models import models_folder


def main() -> int:
    """Measure, print the table, and return the exit status: 1 if a request failed."""
    parser = argparse.ArgumentParser(prog="python -m dev.bench.rollouts", description=__doc__.splitlines()[0])
    parser.add_argument("--name", default=os.environ.get("SLIPWAY_CLUSTER", "slipway"), help="name of the cluster")
    parser.add_argument("--rounds", type=int, default=5, help="how often each thing is measured (default: 5)")
    options = parser.parse_args()
    kubectl = prepare(options.name).within(f"bench-rollouts-{uuid.uuid4().hex[:5]}")
    kubectl.apply(manifests.namespace(kubectl.namespace))
    rounds = Rounds(kubectl, models_folder())
    try:
        rounds.run(options.rounds)
    finally:
        kubectl.run("delete", "namespace", kubectl.namespace, "--wait=false")
        kubectl.run("delete", "pods", "--all", "--grace-period=1", "--wait=false")
    print(grid(("", "median s", "least s", "most s", "times"), rounds.rows()))
    print(f"\n{rounds.requests}\n{rounds.prober}")
    return 1 if rounds.failed else 0


if __name__ == "__main__":
    sys.exit(main())
