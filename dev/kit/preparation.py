"""A cluster with everything the e2e tests and the rollout benchmark need: images, chart, tiny models, their web server."""

import os
import sys

from dev.kit import archive_server, installation
from dev.kit.console import Console
from dev.kit.kubectl import Kubectl
from dev.kit.tiny_models import models_folder

AUTHORITIES = "authorities"
"""ConfigMap with further certificate authorities, in those namespaces that have one."""


def prepare(cluster: str) -> Kubectl:
    """Bring up what is missing, and return the way to the cluster.

    With SLIPWAY_E2E_REUSE in the environment only the models are brought up to date: what is installed is what is tested.
    """
    if os.environ.get("SLIPWAY_E2E_REUSE"):
        client = installation.kubectl(cluster)
    else:
        options = installation.Options(cluster, install_packages=os.geteuid() == 0, authorities=AUTHORITIES)
        client = installation.up(options, Console(sys.stderr))
    archive_server.start(client, models_folder() / "files")
    return client
