"""The command line: errors are sentences, never tracebacks."""

from pathlib import Path

import pytest

from dev.cluster import cli


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SLIPWAY_STATE", str(tmp_path / "state"))


def test_up_as_an_ordinary_user(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("dev.cluster.nodes.checks.root.__defaults__", (lambda: 1000,))
    assert cli.main(["up", "--provider", "local"]) == 1
    assert capsys.readouterr().err.startswith("error: a local cluster needs root")


def test_an_existing_cluster_must_be_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dev.cluster.providers.existing.Existing._run", lambda *_: "production\n")
    assert cli.main(["up", "--provider", "existing"]) == 1
    assert "must be named" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["status"], ["kubeconfig"], ["gpu"]])
def test_no_cluster(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 1
    said = capsys.readouterr()
    assert "there is no cluster slipway" in said.out + said.err


def test_a_name_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["up", "--name", "../etc"]) == 1
    assert "cannot name a cluster" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [[], ["upp"], ["load"], ["up", "--provider", "minikube"], ["path", "kubctl"], ["lose"]]
)
def test_wrong_words(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2


def test_nothing_is_left_in_the_state_folder_by_a_failed_command(tmp_path: Path) -> None:
    cli.main(["up", "--provider", "existing"])
    assert not (tmp_path / "state").exists() or list((tmp_path / "state").iterdir()) == []


def test_nodes_belong_to_the_local_provider(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["up", "--context", "mine", "--nodes", "2"]) == 1
    assert "--nodes belongs to the provider local, not to existing" in capsys.readouterr().err


@pytest.mark.parametrize("count", ["0", "9"])
def test_a_number_of_nodes_that_cannot_be(
    count: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("something was made")

    monkeypatch.setattr("dev.cluster.nodes.checks.root.__defaults__", (lambda: 0,))
    monkeypatch.setattr("dev.cluster.nodes.packages.require", lambda **_: None)
    monkeypatch.setattr("dev.cluster.binaries.ensure_all", lambda *_: {})
    monkeypatch.setattr("dev.cluster.providers.local.ControlPlaneNode", refuse)
    assert cli.main(["up", "--provider", "local", "--nodes", count]) == 1
    assert f"has 1 to 8 nodes, not {count}" in capsys.readouterr().err
