"""The golden set on its way into the pod, and the pin that makes every pod of a revision serve the same bytes."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from slipway_tools import golden_fetch
from tests.tools.conftest import Run
from tests.tools.support import Outcome, Site, below, model, tar, write

Pin = Callable[[Outcome], None]
SET = b'{"inputs": {"x": [1.0]}, "label": 1}\n'
DIGEST = f"sha256:{hashlib.sha256(SET).hexdigest()}"


@pytest.fixture
def uri(site: Site) -> str:
    return site.file("/m", tar(model() | {"assets.extra/golden.jsonl": SET}))


@pytest.fixture
def config_map(tmp_path: Path) -> Path:
    """A ConfigMap volume as the kubelet lays it out."""
    volume = tmp_path / "golden"
    write(volume / "..2026_11_22", {"golden.jsonl": SET})
    (volume / "..data").symlink_to("..2026_11_22")
    (volume / "golden.jsonl").symlink_to("..data/golden.jsonl")
    return volume


def test_from_a_config_map(uri: str, fetch: Run, models: Path, config_map: Path) -> None:
    done = fetch(uri, f"--golden-dir={config_map}", "--golden-name=digits-golden")
    assert (done.code, done.message["golden"]) == (0, DIGEST), done.stderr
    assert (models / ".config" / "golden").read_bytes() == SET
    assert (models / ".config" / "golden").stat().st_mode & 0o777 == 0o644


def test_without_a_gate_nothing_of_it_is_said(uri: str, fetch: Run, models: Path) -> None:
    assert "golden" not in fetch(uri).message
    assert not (models / ".config" / "golden").exists()


def test_from_inside_the_model(uri: str, fetch: Run, models: Path) -> None:
    assert fetch(uri, "--golden-path=assets.extra/golden.jsonl").message["golden"] == DIGEST
    assert (models / ".config" / "golden").read_bytes() == SET


def test_from_a_web_server(uri: str, site: Site, fetch: Run) -> None:
    there = site.file("/golden", SET)
    assert fetch(uri, f"--golden-uri={there}", f"--golden-digest={DIGEST}").message["golden"] == DIGEST


def test_from_a_claim(uri: str, fetch: Run, tmp_path: Path) -> None:
    claim = write(tmp_path / "claim", {"sets/golden.jsonl": SET})
    done = fetch(uri, "--golden-uri=pvc://sets/sets/golden.jsonl", f"--golden-source={claim}/sets/golden.jsonl")
    assert done.message["golden"] == DIGEST, done.stderr


def test_a_restart_keeps_the_copy_whatever_became_of_the_source(
    uri: str, fetch: Run, models: Path, config_map: Path
) -> None:
    flags = (f"--golden-dir={config_map}", "--golden-name=digits-golden")
    assert fetch(uri, *flags).code == 0
    write(config_map / "..2026_11_22", {"golden.jsonl": b"edited"})
    assert fetch(uri, *flags).message["golden"] == DIGEST
    (models / ".config" / "golden").write_bytes(b"damaged")
    assert fetch(uri, *flags).message["golden"] == f"sha256:{hashlib.sha256(b'edited').hexdigest()}"


def test_a_golden_set_that_fails_leaves_the_model_for_the_next_start(uri: str, site: Site, fetch: Run) -> None:
    assert fetch(uri, "--golden-dir=/nonexistent", "--golden-name=missing").reason == "GoldenNotFound"
    requests = len(site.requests)
    assert fetch(uri, "--golden-path=assets.extra/golden.jsonl").code == 0
    assert len(site.requests) == requests


def test_a_golden_set_that_is_not_in_the_model_yet_is_fetched_with_it(uri: str, site: Site, fetch: Run) -> None:
    site.file("/m", tar(model()))  # its copy is not complete
    assert fetch(uri, "--golden-path=assets.extra/golden.jsonl").reason == "GoldenNotFound"
    site.file("/m", tar(model() | {"assets.extra/golden.jsonl": SET}))
    assert fetch(uri, "--golden-path=assets.extra/golden.jsonl").message["golden"] == DIGEST


def refused(done: Outcome, reason: str, *words: str) -> None:
    assert (done.code, done.reason) == (1, reason), done.text
    assert "spec.rollout.gate.golden" in done.text
    for word in words:
        assert word in done.text


def test_a_config_map_that_is_not_there(uri: str, fetch: Run, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "..data").mkdir()
    for directory in (empty, tmp_path / "missing"):
        done = fetch(uri, f"--golden-dir={directory}", "--golden-name=digits-golden")
        refused(done, "GoldenNotFound", "'digits-golden'", "kubectl create configmap digits-golden")


def test_the_keys_of_a_config_map(uri: str, fetch: Run, config_map: Path) -> None:
    flags = (f"--golden-dir={config_map}", "--golden-name=g")
    refused(fetch(uri, *flags, "--golden-key=other"), "GoldenNotFound", "'other'", "'golden.jsonl'", "golden.key")
    write(config_map, {"second": b""})
    refused(fetch(uri, *flags), "GoldenNotFound", "'golden.jsonl', 'second'", "spec.rollout.gate.golden.key")
    assert fetch(uri, *flags, "--golden-key=golden.jsonl").message["golden"] == DIGEST


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("../../secret", "GoldenForbidden"),
        ("assets.extra/../../../secret", "GoldenForbidden"),
        ("/etc/passwd", "GoldenForbidden"),
        ("", "GoldenForbidden"),
        ("assets.extra", "GoldenNotFound"),
        ("assets.extra/other.npz", "GoldenNotFound"),
    ],
)
def test_a_path_in_the_model(uri: str, fetch: Run, models: Path, path: str, reason: str) -> None:
    write(models, {"secret": SET})
    refused(fetch(uri, f"--golden-path={path}"), reason)
    assert not (models / ".config" / "golden").exists()


def test_a_path_that_is_missing_is_named_with_what_is_there(uri: str, fetch: Run) -> None:
    refused(fetch(uri, "--golden-path=golden.npz"), "GoldenNotFound", "'golden.npz'", "'assets.extra/golden.jsonl'")


def test_a_digest_that_differs(uri: str, site: Site, fetch: Run, models: Path) -> None:
    there = site.file("/golden", SET + b"\n")
    refused(fetch(uri, f"--golden-uri={there}", f"--golden-digest={DIGEST}"), "GoldenDigestMismatch", DIGEST)
    assert not list((models / ".config").glob("*golden*"))


def test_what_a_web_server_may_answer(uri: str, site: Site, fetch: Run) -> None:
    refused(fetch(uri, f"--golden-uri={site.url}/none"), "GoldenNotFound", "golden.uri")
    refused(fetch(uri, f"--golden-uri={site.status('/busy', 503)}"), "GoldenUnreachable", "golden.uri")
    refused(fetch(uri, f"--golden-uri={site.status('/no', 403)}"), "GoldenForbidden", "golden.uri")
    refused(fetch(uri, "--golden-uri=ftp://example/golden"), "GoldenForbidden", "golden.uri")
    refused(fetch(uri, "--golden-uri=http://169.254.169.254/golden"), "GoldenForbidden", "golden.uri")


def test_a_claim_without_it(uri: str, fetch: Run, tmp_path: Path) -> None:
    claim = write(tmp_path / "claim", {"sets/golden.jsonl": SET})
    (claim / "out").symlink_to("/etc/passwd")
    flags = [("other", "GoldenNotFound"), ("sets", "GoldenNotFound"), ("out", "GoldenForbidden")]
    for name, reason in flags:
        refused(fetch(uri, f"--golden-uri=pvc://sets/{name}", f"--golden-source={claim}/{name}"), reason)


def test_too_large_from_anywhere(
    uri: str, site: Site, fetch: Run, config_map: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(golden_fetch, "MAX_BYTES", len(SET) - 1)
    refused(fetch(uri, f"--golden-dir={config_map}", "--golden-name=g"), "GoldenTooLarge", "configMap")
    refused(fetch(uri, "--golden-path=assets.extra/golden.jsonl"), "GoldenTooLarge", "golden.path")
    refused(fetch(uri, f"--golden-uri={site.file('/golden', SET)}"), "GoldenTooLarge", "golden.uri")


def test_one_source(uri: str, fetch: Run, config_map: Path) -> None:
    done = fetch(uri, f"--golden-dir={config_map}", "--golden-path=x")
    assert (done.code, done.reason) == (1, "InternalError")


class TestPin:
    """Variables that the operator takes from the revision's ConfigMap."""

    @pytest.fixture
    def pin(self, monkeypatch: pytest.MonkeyPatch) -> Pin:
        def call(found: Outcome) -> None:
            monkeypatch.setenv("SLIPWAY_PINNED_VERSION", str(found.message["version"]))
            monkeypatch.setenv("SLIPWAY_PINNED_DIGEST", str(found.message["digest"]))

        return call

    def test_the_same_bytes_are_served(self, uri: str, fetch: Run, pin: Pin) -> None:
        first = fetch(uri)
        pin(first)
        assert fetch(uri).message == first.message

    def test_a_newer_version_is_passed_over(self, site: Site, fetch: Run, pin: Pin, models: Path) -> None:
        pin(fetch(site.file("/m", tar(below("1", model())))))
        (models / ".config" / "fetched.json").unlink()
        site.file("/m", tar(below("1", model()) | below("2", model(b"newer"))))
        assert fetch(f"{site.url}/m").message["version"] == 1

    def test_other_bytes_are_refused(self, site: Site, fetch: Run, pin: Pin, models: Path) -> None:
        first = fetch(site.file("/m", tar(model())))
        (models / ".config" / "fetched.json").unlink()
        other = fetch(site.file("/m", tar(model(b"retrained"))))
        (models / ".config" / "fetched.json").unlink()
        pin(first)
        done = fetch(f"{site.url}/m")
        assert (done.code, done.reason) == (1, "SourceChanged")
        for word in (first.message["digest"], other.message["digest"], "spec.model", "new revision"):
            assert str(word) in done.text

    def test_damage_is_a_change_before_it_is_anything_else(
        self, site: Site, fetch: Run, pin: Pin, models: Path
    ) -> None:
        pin(fetch(site.file("/m", tar(model()))))
        (models / ".config" / "fetched.json").unlink()
        site.file("/m", tar(model() | {"saved_model.pb": b"damaged"}))
        assert fetch(f"{site.url}/m").reason == "SourceChanged"

    def test_what_was_fetched_before_the_pin_is_checked_too(self, site: Site, fetch: Run, pin: Pin) -> None:
        first = fetch(site.file("/m", tar(model())))
        site.file("/m", tar(model(b"retrained")))
        pin(Outcome(0, first.message | {"digest": "sha256:" + "0" * 64}, "", ""))
        assert fetch(f"{site.url}/m").reason == "SourceChanged"

    def test_a_version_that_is_gone(self, site: Site, fetch: Run, pin: Pin, models: Path) -> None:
        pin(fetch(site.file("/m", tar(below("1", model())))))
        (models / ".config" / "fetched.json").unlink()
        site.file("/m", tar(below("2", model())))
        done = fetch(f"{site.url}/m")
        assert done.reason == "VersionNotFound"
        assert "version 1 is what this revision serves" in done.text

    def test_a_digest_that_a_user_wrote_keeps_its_reason(self, uri: str, fetch: Run, pin: Pin) -> None:
        pin(fetch(uri))
        assert fetch(uri, "--digest=sha256:" + "0" * 64).reason == "DigestMismatch"

    @pytest.mark.parametrize(("version", "digest"), [("1", ""), ("", DIGEST), ("x", DIGEST), ("1", "md5:1")])
    def test_half_a_pin(self, uri: str, fetch: Run, monkeypatch: pytest.MonkeyPatch, version: str, digest: str) -> None:
        monkeypatch.setenv("SLIPWAY_PINNED_VERSION", version)
        monkeypatch.setenv("SLIPWAY_PINNED_DIGEST", digest)
        assert fetch(uri).reason == "InternalError"

    def test_no_pin_yet(self, uri: str, fetch: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SLIPWAY_PINNED_VERSION", "")
        monkeypatch.setenv("SLIPWAY_PINNED_DIGEST", "")
        assert fetch(uri).code == 0


def test_a_file_that_cannot_be_read(uri: str, fetch: Run, config_map: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    (config_map / "..2026_11_22" / "golden.jsonl").chmod(0)
    refused(fetch(uri, f"--golden-dir={config_map}", "--golden-name=g"), "GoldenForbidden")


def test_the_record_holds_no_address(uri: str, site: Site, fetch: Run, models: Path) -> None:
    site.file("/golden", SET)
    assert fetch(uri, f"--golden-uri={site.url}/golden?token=hunter2").code == 0
    text = (models / ".config" / "golden.json").read_text()
    assert json.loads(text)["digest"] == DIGEST
    assert "hunter2" not in text
