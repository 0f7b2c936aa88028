"""`https://` servers with certificates of an authority of one's own: whom fetch accepts, and what it says of the others."""

import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from slipway_tools.sources.authorities import Authorities
from tests.tools.conftest import Run
from tests.tools.support import Outcome, Site, model, serve, tar

MAP = "our-authorities"


class Tls:
    """A web server at https://localhost with the certificate of an authority that nobody knows."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir()
        self.ca, key, pem = folder / "ca.pem", folder / "key.pem", folder / "server.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
             "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-keyout", str(key), "-out", str(self.ca)],
            check=True, capture_output=True,
        )  # fmt: skip
        pem.write_text(key.read_text() + self.ca.read_text())
        self.site = Site()
        self.server = serve(self.site)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.site.file("/m", tar(model()))

    @property
    def uri(self) -> str:
        return f"https://localhost:{self.server.server_port}/m"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[Tls]:
    found = Tls(tmp_path / "tls", "localhost")
    yield found
    found.close()


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    """Where the kubelet mounts the ConfigMap; empty while there is none."""
    folder = tmp_path / "ca"
    folder.mkdir()
    return folder


def fetched(fetch: Run, uri: str, *arguments: str) -> Outcome:
    return fetch(uri, "--allow-address=::1/128", *arguments)


def with_map(folder: Path) -> tuple[str, ...]:
    return (f"--ca-dir={folder}", f"--ca-name={MAP}", "--ca-key=ca.crt")


def test_an_added_authority_is_accepted(tls: Tls, fetch: Run, mounted: Path) -> None:
    (mounted / "ca.crt").write_bytes(tls.ca.read_bytes())
    done = fetched(fetch, tls.uri, *with_map(mounted))
    assert done.code == 0, done.stderr


def test_the_systems_authorities_are_accepted_beside_it(
    tls: Tls, fetch: Run, mounted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Tls(tmp_path / "other", "localhost")
    (mounted / "ca.crt").write_bytes(other.ca.read_bytes())
    other.close()
    monkeypatch.setenv("SSL_CERT_FILE", str(tls.ca))
    assert fetched(fetch, tls.uri, *with_map(mounted)).code == 0


def test_an_unknown_authority_is_refused_with_the_place_to_add_it(tls: Tls, fetch: Run) -> None:
    done = fetched(fetch, tls.uri)
    assert done.message["reason"] == "SourceUnreachable"
    assert "the certificate of localhost is not accepted (self-signed certificate)" in str(done.message["message"])
    assert "the chart's value modelPods.caBundle.configMap" in str(done.message["message"])


def test_where_the_namespace_lacks_the_map_the_message_names_it(tls: Tls, fetch: Run, mounted: Path) -> None:
    message = str(fetched(fetch, tls.uri, *with_map(mounted)).message["message"])
    assert f"the ConfigMap {MAP} with the key ca.crt" in message
    assert "is missing in this namespace" in message


def test_where_the_map_lacks_the_authority_the_message_names_it(
    tls: Tls, fetch: Run, mounted: Path, tmp_path: Path
) -> None:
    other = Tls(tmp_path / "other", "elsewhere.example")
    (mounted / "ca.crt").write_bytes(other.ca.read_bytes())
    other.close()
    message = str(fetched(fetch, tls.uri, *with_map(mounted)).message["message"])
    assert message.endswith(f"add its authority to key ca.crt of the ConfigMap {MAP} in this namespace")


@pytest.mark.parametrize(
    "content", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_map_without_certificates_is_refused(tls: Tls, fetch: Run, mounted: Path, content: str) -> None:
    (mounted / "ca.crt").write_text(content)
    done = fetched(fetch, tls.uri, *with_map(mounted))
    assert done.message["reason"] == "SourceUnreachable"
    assert f"key ca.crt of the ConfigMap {MAP} has no certificates" in str(done.message["message"])


def test_a_golden_set_is_downloaded_with_the_same_authorities(tls: Tls, fetch: Run, mounted: Path, site: Site) -> None:
    tls.site.file("/golden", b'{"inputs": 1}\n')
    golden = f"--golden-uri={tls.uri.removesuffix('/m')}/golden"
    plain = site.file("/m", tar(model()))
    done = fetched(fetch, plain, golden, *with_map(mounted))
    assert done.message["reason"] == "GoldenUnreachable"
    assert f"the ConfigMap {MAP}" in str(done.message["message"])
    (mounted / "ca.crt").write_bytes(tls.ca.read_bytes())
    assert fetched(fetch, plain, golden, *with_map(mounted)).code == 0


def test_a_certificate_for_another_name_is_no_matter_of_authorities(fetch: Run, mounted: Path, tmp_path: Path) -> None:
    served = Tls(tmp_path / "tls", "elsewhere.example")
    (mounted / "ca.crt").write_bytes(served.ca.read_bytes())
    message = str(fetched(fetch, served.uri, *with_map(mounted)).message["message"])
    served.close()
    assert "use the name that it was made for" in message
    assert "authority" not in message


def test_nor_is_one_that_has_expired() -> None:
    expired = 10  # X509_V_ERR_CERT_HAS_EXPIRED; openssl makes no such certificate without a configuration
    assert Authorities().advice(expired).startswith("renew it")
