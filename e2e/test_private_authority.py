"""A web server with a certificate of an authority that only the cluster's administrator knows."""

from pathlib import Path
from typing import Any

from dev.cluster import pki
from dev.kit import archive_server, traffic, wait
from dev.kit.kubectl import Kubectl
from dev.kit.model_deployments import deployment, pods
from dev.kit.preparation import AUTHORITIES
from dev.kit.tiny_models import HALVES

SERVER, CERTIFICATE = "private", "private-tls"


def secret(pair: pki.Pair) -> dict[str, Any]:
    """Return the Secret with a certificate and its key."""
    data = {"tls.crt": pair.cert.read_text(), "tls.key": pair.key.read_text()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": CERTIFICATE},
        "stringData": data,
    }


def test_a_server_of_a_private_authority(namespace: Kubectl, models: Path, tmp_path: Path) -> None:
    authority = pki.create_authority(tmp_path)
    host = f"{SERVER}.{namespace.namespace}"
    namespace.apply(secret(pki.issue(authority, tmp_path, SERVER, user=host, alt_names=[f"DNS:{host}"])))
    archive_server.serve(namespace, SERVER, certificate=CERTIFICATE)
    archive_server.put_into(namespace, SERVER, models / "files" / "half_plus_two.tar.gz")

    namespace.apply(deployment("privately", f"https://{host}/half_plus_two.tar.gz"))
    wait.refused(namespace, "privately", "FetchFailed", f"the ConfigMap {AUTHORITIES} with the key ca.crt")

    certificates = {"ca.crt": authority.cert.read_text()}
    namespace.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": AUTHORITIES}, "data": certificates})
    [pod] = pods(namespace, "privately")
    namespace.run("delete", "pod", pod["metadata"]["name"], "--grace-period=1")  # the kubelet looks again each minute
    wait.ready(namespace, "privately")
    traffic.settled(namespace, "privately", traffic.answer_of(HALVES["half_plus_two"]))
