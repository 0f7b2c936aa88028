"""Makes models, archives and a web server that misbehaves on request."""

import email.utils
import gzip
import io
import json
import subprocess
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tensorflow.core.protobuf import meta_graph_pb2

Files = dict[str, bytes]


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out + bytes([number]))


def saved_model(*graphs: tuple[Iterable[str], Iterable[str]], weight_bytes: int = 0) -> bytes:
    """A saved_model.pb with one graph for each (tags, signatures); `weight_bytes` makes the graph itself large."""
    content = b"\x08\x01"
    for tags, signatures in graphs or [(["serve"], ["serving_default", "__saved_model_init_op"])]:
        graph = meta_graph_pb2.MetaGraphDef()
        graph.meta_info_def.tags.extend(tags)
        for name in signatures:
            graph.signature_def[name].method_name = "tensorflow/serving/predict"
        node = graph.graph_def.node.add(name="weights", op="Const")
        if weight_bytes:
            node.attr["value"].tensor.tensor_content = bytes(weight_bytes)
        encoded = graph.SerializeToString()
        content += b"\x12" + varint(len(encoded)) + encoded
    return content


def model(extra: bytes = b"weights") -> Files:
    return {
        "saved_model.pb": saved_model(),
        "variables/variables.index": b"index",
        "variables/variables.data-00000-of-00001": extra,
        "assets/vocabulary.txt": "één\n".encode(),
    }


def below(folder: str, files: Files) -> Files:
    return {f"{folder}/{name}": content for name, content in files.items()}


def write(root: Path, files: Files) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def tar(files: Files, *, extra: Iterable[tarfile.TarInfo] = (), form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in extra:
            archive.addfile(info)
    return out.getvalue()


def tar_gz(files: Files, *, extra: Iterable[tarfile.TarInfo] = ()) -> bytes:
    return gzip.compress(tar(files, extra=extra))


def zipped(files: Files, *, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


PACKERS: dict[str, Callable[[Files], bytes]] = {"tar": tar, "tar.gz": tar_gz, "zip": zipped}


def coreutils_digest(directory: Path) -> str:
    """The digest as anyone can compute it without this code."""
    command = "find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum"
    done = subprocess.run(["bash", "-c", command], cwd=directory, capture_output=True, text=True, check=True)
    return f"sha256:{done.stdout.split()[0]}"


@dataclass
class Outcome:
    """What a run of the command left behind."""

    code: int
    message: dict[str, object]
    stdout: str
    stderr: str

    @property
    def reason(self) -> object:
        return self.message.get("reason")

    @property
    def text(self) -> str:
        return str(self.message.get("message"))

    @classmethod
    def of(cls, code: int, log: Path, stdout: str, stderr: str) -> "Outcome":
        return cls(code, json.loads(log.read_text()) if log.exists() else {}, stdout, stderr)


Answer = Callable[["Handler"], None]


@dataclass
class Site:
    """A web server on loopback; `answers` by path, each request recorded with its headers."""

    url: str = ""
    answers: dict[str, Answer] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def file(self, path: str, content: bytes, *, etag: str | None = '"v1"', break_after: int | None = None) -> str:
        """Serve `content` with ranges; the first answer breaks off after `break_after` bytes."""
        left = [break_after]

        def answer(handler: "Handler") -> None:
            start = 0
            wanted = handler.headers.get("Range")
            if wanted and handler.headers.get("If-Range") == etag:
                start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            handler.send_response(206 if start else 200)
            if start:
                handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            if etag is not None:
                handler.send_header("ETag", etag)
            handler.send_header("Content-Length", str(len(content) - start))
            handler.end_headers()
            end, left[0] = left[0], None
            handler.wfile.write(content[start:end])

        self.answers[path] = answer
        return self.url + path

    def status(self, path: str, *codes: int, then: bytes = b"", headers: dict[str, str] | None = None) -> str:
        """Answer with each of `codes` once (the last one for ever, without `then`), then with the content."""
        left = list(codes)

        def answer(handler: "Handler") -> None:
            code = left.pop(0) if len(left) > 1 or (left and then) else (200 if then else left[0])
            handler.send_response(code)
            for name, value in (headers or {}).items():
                handler.send_header(name, value)
            body = then if code == 200 else b"secret of the server"
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)

        self.answers[path] = answer
        return self.url + path

    def redirect(self, path: str, location: str, code: int = 302) -> str:
        return self.status(path, code, headers={"Location": location})


class Handler(BaseHTTPRequestHandler):
    """Looks the answer up; knows nothing itself."""

    site: Site
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.close_connection = True
        self.site.requests.append((self.path, dict(self.headers)))
        answer = self.site.answers.get(self.path.partition("?")[0])
        if answer is None:
            self.send_error(404)
        else:
            answer(self)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


class Server(ThreadingHTTPServer):
    """Threads that die with the test; a client that hangs up is not an error."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        pass


def serve(site: Site) -> Server:
    handler = type("BoundHandler", (Handler,), {"site": site})
    server = Server(("127.0.0.1", 0), handler)
    site.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    return server


def http_date(age_seconds: float) -> str:
    return email.utils.formatdate(time.time() - age_seconds, usegmt=True)
