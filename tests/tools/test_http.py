"""Downloads from a real web server on loopback that resets, throttles, redirects and lies."""

import contextlib
import ipaddress
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from slipway_tools.errors import ModelError, Reason
from slipway_tools.limits import Limits
from slipway_tools.sources.addresses import is_permitted
from slipway_tools.sources.connection import DEFAULT_PORTS
from slipway_tools.sources.http import Downloader, Policy
from slipway_tools.uri import parse
from tests.tools.conftest import Run
from tests.tools.support import Handler, Site, http_date, model, serve, tar

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
CONTENT = bytes(range(256)) * 4000


@dataclass
class Download:
    """A downloader whose waits are recorded instead of waited for."""

    path: Path
    attempts: int = 4
    total_seconds: float = 60
    read_seconds: float = 10
    max_bytes: int = 1 << 30
    slept: list[float] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)
    resolve: Callable[[str, int], list[str]] = lambda host, _port: [host]

    def __call__(self, uri: str) -> bytes:
        policy = Policy(
            allowed=LOOPBACK, attempts=self.attempts, total_seconds=self.total_seconds, read_seconds=self.read_seconds
        )
        downloader = Downloader(
            policy, Limits(self.max_bytes), self.logged.append, resolve=self.resolve, sleep=self.slept.append
        )
        self.path.unlink(missing_ok=True)
        size = downloader.download(parse(uri), self.path)
        content = self.path.read_bytes()
        assert len(content) == size
        return content

    def refused(self, uri: str) -> ModelError:
        with pytest.raises(ModelError) as refusal:
            self(uri)
        return refusal.value


@pytest.fixture
def download(tmp_path: Path) -> Download:
    return Download(tmp_path / "archive")


def ranges(site: Site) -> list[str | None]:
    return [headers.get("Range") for _, headers in site.requests]


def test_a_reset_is_continued_where_it_stopped(site: Site, download: Download) -> None:
    uri = site.file("/m", CONTENT, break_after=300_000)
    assert download(uri) == CONTENT
    assert ranges(site) == [None, "bytes=300000-"]
    assert site.requests[1][1]["If-Range"] == '"v1"'
    assert "ended after 300000 of 1024000 bytes" in download.logged[0]


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_without_a_strong_validator_it_starts_over(site: Site, download: Download, etag: str | None) -> None:
    assert download(site.file("/m", CONTENT, etag=etag, break_after=300_000)) == CONTENT
    assert ranges(site) == [None, None]


@pytest.mark.parametrize(("age", "second"), [(3600, "bytes=1000-"), (-3600, None)])
def test_a_date_counts_when_it_is_older_than_the_answer(
    site: Site, download: Download, age: int, second: str | None
) -> None:
    modified = http_date(age)
    breaks = [True]

    def answer(handler: Handler) -> None:
        start = 1000 if handler.headers.get("If-Range") == modified else 0
        handler.send_response(206 if start else 200)
        handler.send_header("Last-Modified", modified)
        handler.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        handler.send_header("Content-Length", str(len(CONTENT) - start))
        handler.end_headers()
        handler.wfile.write(CONTENT[start : 1000 if breaks.pop() else None])
        breaks.append(False)

    site.answers["/m"] = answer
    assert download(site.url + "/m") == CONTENT
    assert ranges(site) == [None, second]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Date", "Sun, 22 Nov 2026 12:00:00 -0000"),
        ("Last-Modified", "Sun, 22 Nov 2020 12:00:00 -0000"),
        ("Last-Modified", "yesterday"),
        ("Retry-After", "Sun, 22 Nov 0001 12:00:00 +2359"),
        ("Retry-After", "9" * 5000),
    ],
)
def test_dates_that_cannot_be_compared(site: Site, download: Download, name: str, value: str) -> None:
    left = [503, 200]
    download.total_seconds = 600

    def answer(handler: Handler) -> None:
        handler.send_response_only(left.pop(0))
        for header, text in {"Date": http_date(0), "Last-Modified": http_date(60), name: value}.items():
            handler.send_header(header, text)
        handler.send_header("Content-Length", str(len(CONTENT)))
        handler.end_headers()
        handler.wfile.write(CONTENT)

    site.answers["/m"] = answer
    assert download(site.url + "/m") == CONTENT


def test_a_file_that_changed_meanwhile_is_never_joined(site: Site, download: Download) -> None:
    def changed(handler: Handler) -> None:
        site.file("/m", b"B" * 5000, etag='"v2"')
        handler.send_response(200)
        handler.send_header("ETag", '"v1"')
        handler.send_header("Content-Length", "5000")
        handler.end_headers()
        handler.wfile.write(b"A" * 2000)

    site.answers["/m"] = changed
    assert download(site.url + "/m") == b"B" * 5000
    assert ranges(site) == [None, "bytes=2000-"]


def test_a_range_at_the_wrong_place_is_not_believed(site: Site, download: Download) -> None:
    def answer(handler: Handler) -> None:
        asked = "Range" in handler.headers
        handler.send_response(206 if asked else 200)
        handler.send_header("ETag", '"v1"')
        handler.send_header("Content-Length", str(len(CONTENT)))
        if asked:
            handler.send_header("Content-Range", f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}")
            site.file("/m", CONTENT)
        handler.end_headers()
        handler.wfile.write(CONTENT if asked else CONTENT[:1000])

    site.answers["/m"] = answer
    assert download(site.url + "/m") == CONTENT


def test_a_server_that_is_busy(site: Site, download: Download) -> None:
    uri = site.status("/m", 503, 429, 500, then=CONTENT, headers={"Retry-After": "7"})
    assert download(uri) == CONTENT
    assert download.slept == [7, 7, 7]


def test_retry_after_is_bounded(site: Site, download: Download) -> None:
    download.total_seconds = 1e6
    assert download(site.status("/m", 503, then=CONTENT, headers={"Retry-After": "86400"})) == CONTENT
    assert download.slept == [60]


def test_retry_after_may_be_a_date(site: Site, download: Download) -> None:
    assert download(site.status("/m", 429, then=CONTENT, headers={"Retry-After": http_date(-30)})) == CONTENT
    assert 20 < download.slept[0] <= 30


@pytest.mark.parametrize("value", ["soon", "-5", "Wed, 99 Foo"])
def test_a_retry_after_that_makes_no_sense(site: Site, download: Download, value: str) -> None:
    assert download(site.status("/m", 503, then=CONTENT, headers={"Retry-After": value})) == CONTENT
    assert 0 < download.slept[0] <= 0.5


def test_attempts_end_and_the_waits_between_them_grow(site: Site, download: Download) -> None:
    refusal = download.refused(site.status("/m", 500))
    assert refusal.reason == Reason.SOURCE_UNREACHABLE
    assert "4 attempts" in refusal.message
    assert "500" in refusal.message
    assert "secret of the server" not in refusal.message
    assert len(site.requests) == 4
    first, second, third = download.slept
    assert 0.25 <= first <= 0.5 <= second <= 1 <= third <= 2


def test_progress_resets_the_count_of_attempts(site: Site, download: Download) -> None:
    download.attempts = 2

    def drip(handler: Handler) -> None:
        start = int(handler.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        handler.send_response(206 if start else 200)
        handler.send_header("ETag", '"v1"')
        handler.send_header("Content-Range", f"bytes {start}-7999/8000")
        handler.send_header("Content-Length", str(8000 - start))
        handler.end_headers()
        handler.wfile.write(bytes(1000))

    site.answers["/m"] = drip
    assert download(site.url + "/m") == bytes(8000)
    assert len(site.requests) == 8


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (404, Reason.SOURCE_NOT_FOUND),
        (410, Reason.SOURCE_NOT_FOUND),
        (401, Reason.SOURCE_FORBIDDEN),
        (403, Reason.SOURCE_FORBIDDEN),
        (400, Reason.SOURCE_UNREACHABLE),
        (204, Reason.SOURCE_UNREACHABLE),
    ],
)
def test_answers_that_no_second_attempt_changes(site: Site, download: Download, status: int, reason: Reason) -> None:
    refusal = download.refused(site.status("/m", status))
    assert refusal.reason == reason
    assert str(status) in refusal.message
    assert len(site.requests) == 1


def test_nobody_listens(download: Download) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        refusal = download.refused(f"http://127.0.0.1:{taken.getsockname()[1]}/m")
    assert refusal.reason == Reason.SOURCE_UNREACHABLE
    assert "refused" in refusal.message.lower()


def test_a_name_that_does_not_resolve(download: Download) -> None:
    def nothing(_host: str, _port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    download.resolve = nothing
    refusal = download.refused("https://models.invalid/m.tar")
    assert refusal.reason == Reason.SOURCE_UNREACHABLE
    assert "models.invalid does not resolve" in refusal.message
    assert len(download.slept) == 3


def test_a_server_that_says_nothing(download: Download) -> None:
    download.read_seconds, download.attempts = 0.2, 2
    with socket.create_server(("127.0.0.1", 0)) as mute:
        refusal = download.refused(f"http://127.0.0.1:{mute.getsockname()[1]}/m")
    assert refusal.reason == Reason.SOURCE_UNREACHABLE
    assert "does not answer" in refusal.message


def test_a_trickle_is_cut_off_when_the_time_is_up(site: Site, download: Download) -> None:
    download.total_seconds = 0.5
    stop = threading.Event()

    def trickle(handler: Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not stop.wait(0.05):
            handler.wfile.write(b".")

    site.answers["/m"] = trickle
    refusal = download.refused(site.url + "/m")
    stop.set()
    assert refusal.reason == Reason.SOURCE_UNREACHABLE
    assert len(site.requests) == 1


def test_many_addresses_where_nobody_answers_take_no_longer_than_one(download: Download) -> None:
    download.total_seconds, download.attempts = 1, 9
    download.resolve = lambda _host, _port: ["127.0.0.1"] * 200
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf, contextlib.ExitStack() as crowd:
        for _ in range(4):  # a full queue: the kernel lets further attempts go unanswered
            waiting = crowd.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex(deaf.getsockname())
        before = time.monotonic()
        refusal = download.refused(f"http://models.example:{deaf.getsockname()[1]}/m")
    assert refusal.reason == Reason.SOURCE_UNREACHABLE
    assert time.monotonic() - before < 60


def test_headers_that_never_end(download: Download) -> None:
    download.total_seconds, download.attempts = 0.5, 9
    stop = threading.Event()

    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
            while not stop.wait(0.05):
                try:
                    connection.sendall(b"x")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=[listener], daemon=True)
        thread.start()
        refusal = download.refused(f"http://127.0.0.1:{listener.getsockname()[1]}/m")
        stop.set()
        thread.join(5)
    assert refusal.reason == Reason.SOURCE_UNREACHABLE


def test_a_size_is_refused_before_and_while_it_arrives(site: Site, download: Download) -> None:
    download.max_bytes = 1000
    assert download.refused(site.file("/announced", CONTENT)).reason == Reason.TOO_LARGE

    def unannounced(handler: Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(CONTENT)

    site.answers["/unannounced"] = unannounced
    assert download.refused(site.url + "/unannounced").reason == Reason.TOO_LARGE
    assert download.path.stat().st_size <= 1000


def test_redirects_are_followed(site: Site, download: Download) -> None:
    site.file("/final", CONTENT)
    site.redirect("/second", "final", 307)
    assert download(site.redirect("/first", f"{site.url}/second", 301)) == CONTENT
    assert [path for path, _ in site.requests] == ["/first", "/second", "/final"]


def test_redirects_in_a_circle(site: Site, download: Download) -> None:
    refusal = download.refused(site.redirect("/m", "/m"))
    assert refusal.reason == Reason.SOURCE_UNREACHABLE
    assert "redirects more than 5 times" in refusal.message


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("file:///etc/passwd", Reason.UNSUPPORTED_SCHEME),
        ("ftp://127.0.0.1/m", Reason.UNSUPPORTED_SCHEME),
        ("pvc://claim/m", Reason.UNSUPPORTED_SCHEME),
        ("http://169.254.169.254/latest/meta-data", Reason.SOURCE_FORBIDDEN),
        ("http://[fe80::1]/m", Reason.SOURCE_FORBIDDEN),
        ("http://[::ffff:169.254.169.254]/m", Reason.SOURCE_FORBIDDEN),
        ("http://0.0.0.0/m", Reason.SOURCE_FORBIDDEN),
        ("http://user:hunter2@127.0.0.1/m", Reason.SOURCE_FORBIDDEN),
        ("http://[fe80::1", Reason.SOURCE_FORBIDDEN),
        ("http://models..example/m", Reason.SOURCE_FORBIDDEN),
        ("", Reason.SOURCE_UNREACHABLE),
    ],
)
def test_redirects_that_lead_astray(site: Site, download: Download, location: str, reason: Reason) -> None:
    refusal = download.refused(site.redirect("/m", location))
    assert refusal.reason == reason
    assert "hunter2" not in refusal.message


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "::", "169.254.169.254", "fe80::1", "fe80::1%eth0", "224.0.0.1",
        "255.255.255.255", "240.0.0.1", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1",
        "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "100.100.100.200", "168.63.129.16",
        "2002:a9fe:a9fe::1", "64:ff9b::", "::ffff:0:a9fe:a9fe",
        # Teredo: the client's address is inverted (169.254.169.254, 127.0.0.1); then the server's.
        "2001:0:4136:e378:8000:63bf:5601:5601", "2001:0:4136:e378:8000:63bf:80ff:fffe", "2001:0:7f00:1:8000:63bf:3fff:fdd2",
        # NAT64 under prefixes of 96, 64, 56 and 48 bits: 169.254.169.254; then 0.0.0.0.
        "64:ff9b:1::a9fe:a9fe", "64:ff9b:1:fffe::a9fe:a9fe", "64:ff9b:1:7:a9:fea9:fe00:0", "64:ff9b:1:a9:fe:a9fe::",
        "64:ff9b:1:a9fe:a9:fe00::", "64:ff9b:1::",
    ],
)  # fmt: skip
def test_addresses_that_are_refused(address: str) -> None:
    assert not is_permitted(address, ())


@pytest.mark.parametrize(
    "address",
    [
        "10.96.0.7", "192.168.1.1", "93.184.216.34", "fd12::1", "2606:2800:220:1::1",
        "64:ff9b::5db8:d822", "2002:5db8:d822::1", "::ffff:0:5db8:d822", "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        # 93.184.216.34 under prefixes of 96, 64, 56 and 48 bits
        "64:ff9b:1::5db8:d822", "64:ff9b:1:fffe::5db8:d822", "64:ff9b:1:7:5d:b8d8:2200:0", "64:ff9b:1:5d:b8:d822::",
        "64:ff9b:1:5db8:d8:2200::",
    ],
)  # fmt: skip
def test_addresses_that_are_permitted(address: str) -> None:
    assert is_permitted(address, ())


def test_an_allowed_network_wins(site: Site, download: Download) -> None:
    assert is_permitted("::ffff:127.0.0.1", LOOPBACK)
    assert not is_permitted("::1", LOOPBACK)
    assert is_permitted("64:ff9b:1::7f00:1", LOOPBACK)
    assert not is_permitted("64:ff9b:1::a9fe:a9fe", LOOPBACK)
    assert is_permitted("64:ff9b:1::a9fe:a9fe", [ipaddress.ip_network("64:ff9b:1::/48")])


def test_a_name_for_a_metadata_service_gets_no_connection(site: Site, download: Download) -> None:
    download.resolve = lambda _host, _port: ["169.254.169.254"]
    refusal = download.refused("http://innocent.example/m.tar")
    assert refusal.reason == Reason.SOURCE_FORBIDDEN
    assert "169.254.169.254" in refusal.message


def test_the_address_that_was_checked_is_the_one_connected_to(site: Site, download: Download) -> None:
    """DNS rebinding: the second answer of the name server is never asked for."""
    answers = iter([["127.0.0.1"]])
    download.resolve = lambda _host, _port: next(answers)
    site.file("/m", CONTENT)
    assert download(site.url.replace("127.0.0.1", "models.example") + "/m") == CONTENT
    assert site.requests[0][1]["Host"].startswith("models.example:")


def test_of_several_addresses_the_permitted_ones_are_tried(site: Site, download: Download) -> None:
    download.resolve = lambda _host, _port: ["169.254.169.254", "127.0.0.2", "127.0.0.1"]
    assert download(site.file("/m", CONTENT).replace("127.0.0.1", "models.example")) == CONTENT


def test_without_permission_loopback_is_refused(site: Site, run: Run, models: Path) -> None:
    done = run("fetch", f"--uri={site.url}/m", f"--destination={models}/m", f"--config-dir={models}/c")
    assert (done.code, done.reason) == (1, "SourceForbidden")
    assert not site.requests


def test_proxies_of_the_environment_are_not_used(
    site: Site, download: Download, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert download(site.file("/m", CONTENT)) == CONTENT


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    path = tmp_path / "server.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
         "-subj", "/CN=models.example", "-addext", "subjectAltName=DNS:models.example",
         "-keyout", str(path), "-out", str(tmp_path / "ca.pem")],
        check=True, capture_output=True,
    )  # fmt: skip
    path.write_text(path.read_text() + (tmp_path / "ca.pem").read_text())
    return path


@pytest.mark.parametrize(
    ("host", "trusted", "words"),
    [
        ("models.example", "ca.pem", None),
        ("models.example", "", "self-signed certificate"),
        ("other.example", "ca.pem", "Hostname mismatch"),
    ],
)
def test_tls(
    host: str, trusted: str, words: str | None, download: Download, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site()
    server = serve(site)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.with_name(trusted)))
    site.file("/m", CONTENT)
    site.redirect("/down", "http://127.0.0.1:1/m")
    download.resolve = lambda _host, _port: ["127.0.0.1"]
    try:
        uri = f"https://{host}:{server.server_port}"
        if words is None:
            assert download(f"{uri}/m") == CONTENT
            assert download.refused(f"{uri}/down").reason == Reason.UNSUPPORTED_SCHEME
            # As every client does: a signature over the host, in an address that somebody signed, is one without port.
            monkeypatch.setitem(DEFAULT_PORTS, "https", server.server_port)
            assert download(f"https://{host}/m") == CONTENT
            assert site.requests[-1][1]["Host"] == host
        else:
            refusal = download.refused(f"{uri}/m")
            assert refusal.reason == Reason.SOURCE_UNREACHABLE
            assert words in refusal.message
            assert not site.requests
            assert not download.slept
    finally:
        server.shutdown()
        server.server_close()


def test_plain_http_where_tls_was_asked_for(site: Site, download: Download) -> None:
    refusal = download.refused(site.url.replace("http:", "https:") + "/m")
    assert refusal.reason == Reason.SOURCE_UNREACHABLE
    assert "TLS" in refusal.message


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("s3://bucket/m", "UnsupportedScheme"),
        ("file:///etc/passwd", "UnsupportedScheme"),
        ("digits.tar", "UnsupportedScheme"),
        ("AKIAIOSFODNN7EXAMPLE-hunter2://x", "UnsupportedScheme"),
        ("http://user:hunter2@models.example/m.tar", "SourceForbidden"),
        ("http://hunter2@models.example/m.tar", "SourceForbidden"),
        ("http:///m.tar", "SourceForbidden"),
        ("http://models.example:hunter2/m.tar", "SourceForbidden"),
        ("http://models.example/a/../m.tar", "SourceForbidden"),
        ("http://models.example/%2e%2e/m.tar", "SourceForbidden"),
        ("http://models.example/a b?hunter2", "SourceForbidden"),
        ("pvc://claim/../other", "SourceForbidden"),
        ("pvc:///digits", "SourceForbidden"),
        ("http://[::1", "SourceForbidden"),
        ("http://models..example/m.tar", "SourceForbidden"),
        (f"http://{'m' * 64}.example/m.tar", "SourceForbidden"),
        ("http://models.example/\udcff.tar", "SourceForbidden"),
    ],
)
def test_addresses_that_are_none(fetch: Run, uri: str, reason: str) -> None:
    done = fetch(uri)
    assert (done.code, done.reason) == (1, reason), done.text
    assert "spec.model.uri" in done.text
    assert "hunter2" not in done.text + done.stderr + done.stdout


@pytest.mark.parametrize("status", [200, 404, 403, 500, 302])
def test_query_strings_are_sent_but_never_shown(site: Site, fetch: Run, models: Path, status: int) -> None:
    if status == 200:
        site.file("/m", tar(model()))
    else:
        site.status("/m", status, headers={"Location": "/elsewhere?signature=hunter2"})
    done = fetch(f"{site.url}/m?signature=hunter2&x=%2F#fragment-hunter2")
    assert site.requests[0][0] == "/m?signature=hunter2&x=%2F"
    record = models / ".config" / "fetched.json"
    assert "hunter2" not in done.stderr + done.stdout + str(done.message)
    assert "hunter2" not in (record.read_text() if record.exists() else "")
    assert done.code == (0 if status == 200 else 1)
