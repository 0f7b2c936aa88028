"""Which provider it is, and that a cluster of somebody else's is only ever touched when it was named."""

import pytest

from dev.cluster import state
from dev.cluster.paths import kubeconfig_path, state_dir
from dev.cluster.providers.existing import Existing, guard
from dev.cluster.providers.selection import decide
from dev.errors import DevError


@pytest.mark.parametrize(
    ("requested", "made_by", "context", "docker", "provider"),
    [
        ("auto", None, "", True, "kind"),
        ("auto", None, "", False, "local"),
        ("local", None, "", True, "local"),
        ("auto", "kind", "", False, "kind"),
        ("local", "local", "", True, "local"),
        ("auto", None, "staging", True, "existing"),
        ("auto", "existing", "", True, "existing"),
    ],
)
def test_decide(requested: str, made_by: str | None, context: str, provider: str, *, docker: bool) -> None:
    assert decide(requested, made_by, context, docker=docker) == provider


@pytest.mark.parametrize(
    ("requested", "made_by", "context", "words"),
    [
        ("kind", "local", "", "made by the provider local"),
        ("auto", "local", "staging", "made by the provider local"),
        ("kind", None, "staging", "--context belongs to the provider existing"),
    ],
)
def test_contradictions(requested: str, made_by: str | None, context: str, words: str) -> None:
    with pytest.raises(DevError, match=words):
        decide(requested, made_by, context, docker=True)


def test_a_named_context_is_used() -> None:
    assert guard("staging", ["production", "staging"], "") == "staging"
    assert guard("staging", ["production", "staging"], "staging") == "staging"


@pytest.mark.parametrize(
    ("context", "recorded", "words"),
    [
        ("", "", r"must be named(.|\n)*production, staging"),
        ("stagin", "", r"no context 'stagin'(.|\n)*production, staging"),
        ("production", "staging", "stands for the context 'staging' already"),
    ],
)
def test_any_other_context_is_refused(context: str, recorded: str, words: str) -> None:
    with pytest.raises(DevError, match=words):
        guard(context, ["production", "staging"], recorded)


def test_images_are_not_loaded_into_somebody_elses_cluster() -> None:
    with pytest.raises(DevError, match="Push them to a registry"):
        Existing("one", lambda _: None, "staging").load(["slipway/tools:1"])


@pytest.mark.parametrize("name", ["", "Slipway", "../etc", "a/b", "a" * 31, "one-", "1st"])
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(DevError, match="cannot name a cluster"):
        state_dir(name)


def test_state_is_remembered_and_forgotten(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("SLIPWAY_STATE", str(tmp_path))
    assert state.load("one") is None
    state.save("one", state.Record("local", index=3))
    assert state.load("one") == state.Record("local", index=3)
    assert state.names() == ["one"]
    assert kubeconfig_path("one").parent == state_dir("one")
    state.forget("one")
    assert state.names() == []


def test_a_broken_record_is_an_error_that_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("SLIPWAY_STATE", str(tmp_path))
    state.save("one", state.Record("local"))
    (state_dir("one") / "cluster.json").write_text("{")
    with pytest.raises(DevError, match="cluster down"):
        state.load("one")
