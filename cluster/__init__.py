"""A Kubernetes to run Slipway on: clusters for people and end-to-end tests, control planes for tests and benchmarks.

`python -m cluster up` (cluster.cli) makes a whole cluster through one of three providers; `cluster.controlplane`
starts only an API server and what belongs to it, on loopback, for the life of a `with` block. Both run binaries that
`cluster.binaries` builds from pinned Go modules.
"""

from cluster.errors import ClusterError
from cluster.paths import DEFAULT_NAME, kubeconfig_path

__all__ = ["DEFAULT_NAME", "ClusterError", "kubeconfig_path"]
