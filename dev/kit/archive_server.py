"""A web server in the cluster that hands out the archives, so that models reach any namespace without a volume."""

import io
import tarfile
from pathlib import Path

from dev.kit import manifests
from dev.kit.kubectl import Kubectl, Manifest

NAMESPACE = "slipway-e2e"
NAME = "archives"
URL = f"http://{NAME}.{NAMESPACE}"
SERVER = """
import http.server

class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith("/forbidden/"):
            self.send_error(403, "not for you")
        elif self.path.startswith("/zeros/"):
            size = int(self.path.rsplit("/", 1)[1])
            self.send_response(200)
            self.send_header("Content-Length", str(size))
            self.end_headers()
            while size > 0:
                size -= self.wfile.write(bytes(min(size, 1 << 20)))
        else:
            super().do_GET()

    def __init__(self, *arguments):
        super().__init__(*arguments, directory="/archives")

server = http.server.ThreadingHTTPServer(("", 8080), Handler)
"""
SERVE = "server.serve_forever()"
SERVE_TLS = """
import ssl
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain("/tls/tls.crt", "/tls/tls.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""
UNPACK = "import sys, tarfile; tarfile.open(fileobj=sys.stdin.buffer, mode='r|').extractall('/archives')"


def server(name: str, *, node: str | None = None, certificate: str | None = None) -> tuple[Manifest, Manifest]:
    """Return the pod, for one node if that is named, and its Service; it speaks HTTPS with the certificate in a Secret."""
    pod = manifests.publisher(name)
    container = pod["spec"]["containers"][0]
    container["command"] = ["python3", "-c", SERVER + (SERVE_TLS if certificate else SERVE)]
    container["ports"] = [{"name": "http", "containerPort": 8080}]
    container["readinessProbe"] = {"tcpSocket": {"port": "http"}, "periodSeconds": 1}
    container["volumeMounts"] = [{"name": "archives", "mountPath": "/archives"}]
    pod["spec"]["volumes"] = [{"name": "archives", "emptyDir": {}}]
    if certificate is not None:
        container["volumeMounts"].append({"name": "tls", "mountPath": "/tls"})
        pod["spec"]["volumes"].append({"name": "tls", "secret": {"secretName": certificate}})
    if node is not None:
        pod["spec"]["nodeSelector"] = {"kubernetes.io/hostname": node}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {
            "selector": {"app": name},
            "ports": [{"port": 443 if certificate else 80, "targetPort": "http"}],
        },
    }
    return pod, service


def start(kubectl: Kubectl, files: Path, node: str | None = None) -> None:
    """Start the server, on one node if that is named, and give it all files of a folder; one that runs gets them too."""
    system = kubectl.within(NAMESPACE)
    system.apply(manifests.namespace(NAMESPACE))
    serve(system, NAME, node=node)
    put(kubectl, *sorted(files.iterdir()))


def serve(kubectl: Kubectl, name: str, *, node: str | None = None, certificate: str | None = None) -> None:
    """Start a server without files in this namespace, as `server` describes it, and wait until it is Ready."""
    output = kubectl.apply(*server(name, node=node, certificate=certificate))
    assert not output.warnings, output.warnings
    kubectl.run("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=240s", timeout=250)


def put(kubectl: Kubectl, *files: Path) -> None:
    """Give the server of all tests files; one of the same name is replaced."""
    put_into(kubectl.within(NAMESPACE), NAME, *files)


def put_into(kubectl: Kubectl, name: str, *files: Path) -> None:
    """Give a server in this namespace files; one of the same name is replaced."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in files:
            archive.add(path, path.name)
    kubectl.run("exec", "-i", name, "--", "python3", "-c", UNPACK, stdin=buffer.getvalue())


def url(file: str) -> str:
    """Return the address of an archive."""
    return f"{URL}/{file}"
