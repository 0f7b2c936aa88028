"""A Kubernetes to run Slipway on: clusters for people and end-to-end tests, control planes for tests and benchmarks.

`python -m dev.cluster up` (cluster.cli) makes a whole cluster through one of three providers; `dev.cluster.controlplane`
starts only an API server and what belongs to it, on loopback, for the life of a `with` block. Both run binaries that
`dev.cluster.binaries` builds from pinned Go modules.
"""

from dev.cluster.paths import DEFAULT_NAME, kubeconfig_path
from dev.errors import DevError

__all__ = ["DEFAULT_NAME", "DevError", "kubeconfig_path"]
