"""Kubeconfig files, self-contained: the certificates are inside, so that a file can be copied to anywhere.

They are written as JSON, which is YAML too.
"""

import base64
import json
from dataclasses import dataclass
from pathlib import Path

from dev.cluster.pki import Pair
from dev.cluster.private_files import write_private


@dataclass(frozen=True)
class Access:
    """How one client reaches an API server: its address, who vouches for it, and the client's own certificate."""

    server: str
    authority: Path
    client: Pair


def render(access: Access, *, context: str, user: str) -> str:
    """Text of a kubeconfig with one cluster, one user and one context, which is current."""
    cluster = {"server": access.server, "certificate-authority-data": _encoded(access.authority)}
    client = {
        "client-certificate-data": _encoded(access.client.cert),
        "client-key-data": _encoded(access.client.key),
    }
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": context, "cluster": cluster}],
        "users": [{"name": user, "user": client}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": user}}],
        "current-context": context,
    }
    return json.dumps(document, indent=2) + "\n"


def write(file: Path, access: Access, *, context: str, user: str) -> Path:
    """Writes a kubeconfig that only its owner can read; returns `file`."""
    return write_private(file, render(access, context=context, user=user))


def _encoded(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
