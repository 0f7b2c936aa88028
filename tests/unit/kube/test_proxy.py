"""The proxy of the environment is looked up once, at login, by the rules that curl and aiohttp follow."""

import pytest

from slipway.kube.transport import _proxy


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return monkeypatch


def test_without_a_proxy_in_the_environment_there_is_none() -> None:
    assert _proxy("https://10.0.0.1:443") is None


def test_the_proxy_is_the_one_for_the_scheme(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("HTTPS_PROXY", "http://proxy:3128")
    assert _proxy("https://api.example.org:6443") == "http://proxy:3128"
    assert _proxy("http://api.example.org:8080") is None


@pytest.mark.parametrize("server", ["https://10.0.0.1:443", "https://kubernetes.default.svc"])
def test_exceptions_are_kept(environment: pytest.MonkeyPatch, server: str) -> None:
    environment.setenv("HTTPS_PROXY", "http://proxy:3128")
    environment.setenv("NO_PROXY", "10.0.0.1,.svc")
    assert _proxy(server) is None
