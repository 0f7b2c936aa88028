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

http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""
UNPACK = "import sys, tarfile; tarfile.open(fileobj=sys.stdin.buffer, mode='r|').extractall('/archives')"


def server(node: str | None = None) -> tuple[Manifest, Manifest]:
    """Return the pod, for one node if that is named, and its Service."""
    pod = manifests.publisher(NAME)
    container = pod["spec"]["containers"][0]
    container["command"] = ["python3", "-c", SERVER]
    container["ports"] = [{"name": "http", "containerPort": 8080}]
    container["readinessProbe"] = {"tcpSocket": {"port": "http"}, "periodSeconds": 1}
    container["volumeMounts"] = [{"name": "archives", "mountPath": "/archives"}]
    pod["spec"]["volumes"] = [{"name": "archives", "emptyDir": {}}]
    if node is not None:
        pod["spec"]["nodeSelector"] = {"kubernetes.io/hostname": node}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": NAME},
        "spec": {"selector": {"app": NAME}, "ports": [{"port": 80, "targetPort": "http"}]},
    }
    return pod, service


def start(kubectl: Kubectl, files: Path, node: str | None = None) -> None:
    """Start the server, on one node if that is named, and give it all files of a folder; one that runs gets them too."""
    system = kubectl.within(NAMESPACE)
    system.apply(manifests.namespace(NAMESPACE))
    output = system.apply(*server(node))
    assert not output.warnings, output.warnings
    system.run("wait", "--for=condition=Ready", f"pod/{NAME}", "--timeout=240s", timeout=250)
    put(kubectl, *sorted(files.iterdir()))


def put(kubectl: Kubectl, *files: Path) -> None:
    """Give the server files; one of the same name is replaced."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in files:
            archive.add(path, path.name)
    kubectl.within(NAMESPACE).run("exec", "-i", NAME, "--", "python3", "-c", UNPACK, stdin=buffer.getvalue())


def url(file: str) -> str:
    """Return the address of an archive."""
    return f"{URL}/{file}"
