"""Certificates say who somebody is in the way Kubernetes reads it, whatever the name."""

import base64
import json
import stat
from pathlib import Path

import pytest

from dev.cluster import kubeconfig, pki
from dev.cluster.private_files import write_private
from dev.errors import DevError
from dev.shell import run


def test_a_client_certificate_carries_user_and_groups(tmp_path: Path) -> None:
    authority = pki.create_authority(tmp_path)
    pair = pki.issue(authority, tmp_path, "alice", user="system:node:a b/c", groups=["team#1", 'the "others"'])
    subject = run(["openssl", "x509", "-in", pair.cert, "-noout", "-subject", "-nameopt", "multiline,-esc_ctrl,utf8"])
    assert "organizationName          = team#1" in subject
    assert 'organizationName          = the "others"' in subject
    assert "commonName                = system:node:a b/c" in subject
    assert run(["openssl", "verify", "-CAfile", authority.cert, pair.cert]).endswith("OK\n")


def test_a_server_certificate_names_its_addresses_and_is_no_authority(tmp_path: Path) -> None:
    authority = pki.create_authority(tmp_path)
    pair = pki.issue(authority, tmp_path, "server", user="server", alt_names=["DNS:localhost", "IP:127.0.0.1"])
    text = run(["openssl", "x509", "-in", pair.cert, "-noout", "-text"])
    assert "DNS:localhost, IP Address:127.0.0.1" in text
    assert "CA:FALSE" in text


def test_what_is_there_is_kept(tmp_path: Path) -> None:
    first = pki.create_authority(tmp_path).cert.read_bytes()
    assert pki.create_authority(tmp_path).cert.read_bytes() == first


def test_private_keys_are_private(tmp_path: Path) -> None:
    authority = pki.create_authority(tmp_path)
    signing = pki.create_signing_key(tmp_path)
    for key in (authority.key, signing.key, pki.issue(authority, tmp_path, "a", user="a").key):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600


@pytest.mark.parametrize("user", ["", "two\nlines"])
def test_names_that_no_certificate_can_hold(tmp_path: Path, user: str) -> None:
    with pytest.raises(DevError, match="cannot be the name"):
        pki.issue(pki.create_authority(tmp_path), tmp_path, "x", user=user)


def test_a_kubeconfig_is_whole_and_private(tmp_path: Path) -> None:
    authority = pki.create_authority(tmp_path)
    pair = pki.issue(authority, tmp_path, "alice", user="alice")
    access = kubeconfig.Access("https://127.0.0.1:6443", authority.cert, pair)
    file = kubeconfig.write(tmp_path / "deep" / "config", access, context="one", user="alice")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    config = json.loads(file.read_text())
    assert config["current-context"] == "one"
    assert base64.b64decode(config["users"][0]["user"]["client-key-data"]) == pair.key.read_bytes()
    assert (
        base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"]) == authority.cert.read_bytes()
    )


def test_a_file_is_written_only_when_it_changes(tmp_path: Path) -> None:
    file = write_private(tmp_path / "config", "one")
    before = file.stat().st_ino
    assert write_private(file, "one").stat().st_ino == before
    assert write_private(file, "two").read_text() == "two"
