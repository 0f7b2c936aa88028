"""Settings: flags win over the environment, and an invalid value is reported with its source."""

import pytest

from slipway import settings
from slipway.__main__ import pods_of
from slipway.api import Resources
from slipway.domain.pod_defaults import PodDefaults


def test_defaults_need_nothing() -> None:
    chosen = settings.parse([], {})
    assert chosen.namespaces == ()
    assert (chosen.runtime_image, chosen.runtime_version) == ("tensorflow/serving", "2.20.0")
    assert str(chosen.metrics_bind_address) == "0.0.0.0:8080"
    assert chosen.leader_elect
    assert chosen.resync_seconds == 600


def test_a_flag_wins_over_its_variable() -> None:
    environ = {"SLIPWAY_WORKERS": "3", "SLIPWAY_NAMESPACES": "a, b,,a", "SLIPWAY_LEADER_ELECT": "false"}
    chosen = settings.parse(["--workers=5"], environ)
    assert chosen.workers == 5
    assert chosen.namespaces == ("a", "b")
    assert not chosen.leader_elect
    assert settings.parse(["--leader-elect"], environ).leader_elect
    assert not settings.parse(["--no-leader-elect"], {}).leader_elect


@pytest.mark.parametrize(
    ("argv", "environ", "named"),
    [
        (["--workers=many"], {}, "--workers='many' is not a whole number"),
        ([], {"SLIPWAY_WORKERS": "0"}, "SLIPWAY_WORKERS='0' is not a whole number"),
        (["--metrics-bind-address=8080"], {}, ""),
        (["--metrics-bind-address=here:there"], {}, "is not HOST:PORT"),
        (["--health-probe-bind-address=:70000"], {}, "is not HOST:PORT"),
        (["--metrics-bind-address=:9", "--health-probe-bind-address=:9"], {}, "are the same"),
        (["--resync-seconds=nan"], {}, "--resync-seconds='nan' is not a number of seconds"),
        (["--log-format=xml"], {}, "is not one of text, json"),
        (["--image-pull-policy=Sometimes"], {}, "is not one of Always"),
        (["--runtime-image="], {}, "is empty"),
        (["--pod-run-as-user=0"], {}, "--pod-run-as-user='0' is not a number from 1 to 2147483647"),
        (["--pod-fs-group=nobody"], {}, "or empty to leave it out"),
        (["--fetch-resources=cpu=1"], {}, "is not requests and limits as JSON"),
        (['--prober-resources={"limit": {}}'], {}, "is not requests and limits as JSON"),
        ([], {"SLIPWAY_PROBER_RESOURCES": '{"limits": {"cpu": "much"}}'}, "SLIPWAY_PROBER_RESOURCES="),
        (["--ca-key="], {}, "is empty"),
        ([], {"SLIPWAY_LEADER_ELECT": "perhaps"}, "SLIPWAY_LEADER_ELECT='perhaps' is neither true nor false"),
    ],
)
def test_invalid_values_are_reported_with_their_source(argv: list[str], environ: dict[str, str], named: str) -> None:
    if not named:
        assert settings.parse(argv, environ).metrics_bind_address.port == 8080
        return
    with pytest.raises(settings.SettingsError) as caught:
        settings.parse(argv, environ)
    assert named in str(caught.value)


def test_what_is_decided_of_pods() -> None:
    """The defaults are those of the renderer, and an empty text leaves something out."""
    assert pods_of(settings.parse([], {})) == PodDefaults()
    argv = ["--pod-run-as-user=", "--pod-run-as-group=0", "--pod-fs-group=", "--prober-resources="]
    found = pods_of(settings.parse([*argv, '--fetch-resources={"limits": {"cpu": 0.5, "memory": 1000000}}'], {}))
    fetch = Resources(limits={"cpu": "0.5", "memory": "1000000"})
    assert found == PodDefaults(fetch, Resources(), run_as_user=None, run_as_group=0, fs_group=None)


def test_an_invalid_value_ends_the_process_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["slipway-operator", "--workers=x"])
    with pytest.raises(SystemExit) as caught:
        settings.load()
    assert caught.value.code == 2
    assert "--workers='x'" in capsys.readouterr().err


def test_help_explains_every_flag_and_its_variable(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        settings.parse(["--help"], {})
    assert caught.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for name in settings.Settings.__dataclass_fields__:
        assert f"--{name.replace('_', '-')}" in text
        assert f"Environment: SLIPWAY_{name.upper()}." in text


def test_an_unknown_flag_ends_with_2() -> None:
    with pytest.raises(SystemExit) as caught:
        settings.parse(["--worker=3"], {})
    assert caught.value.code == 2


@pytest.mark.parametrize(
    ("former", "successor"),
    [
        ("metrics-address", "metrics-bind-address"),
        ("health-address", "health-probe-bind-address"),
        ("lease-namespace", "leader-election-namespace"),
        ("lease-name", "leader-election-id"),
    ],
)
def test_a_former_name_is_refused_with_the_new_one(former: str, successor: str) -> None:
    for argv in ([f"--{former}=x"], [f"--{former}", "x"]):
        with pytest.raises(settings.SettingsError, match=f"--{former} was renamed: use --{successor}$"):
            settings.parse(argv, {})
    former, successor = (f"SLIPWAY_{name.upper().replace('-', '_')}" for name in (former, successor))
    with pytest.raises(settings.SettingsError, match=f"{former} was renamed: use {successor}$"):
        settings.parse([], {former: "x"})


def test_ipv6_addresses() -> None:
    chosen = settings.parse(["--metrics-bind-address=[::1]:0"], {})
    assert chosen.metrics_bind_address == settings.Address("::1", 0)
    assert str(chosen.metrics_bind_address) == "[::1]:0"
