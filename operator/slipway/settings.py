"""Settings: the composition root reads them once from flags and environment; they never change.

Every flag has an environment variable, `SLIPWAY_` and the flag's name in capitals; a flag wins over its variable.
"""

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from slipway import __version__
from slipway.api import Resources
from slipway.domain.pod_defaults import PROBER_RESOURCES, USER, read_resources

PROGRAM = "slipway-operator"
_HIGHEST_ID = 2**31 - 1
NAMESPACE_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"


class SettingsError(ValueError):
    """An invalid value; its text names the flag or variable and the fix."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen; with port 0 the system chooses one."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return HOST:PORT."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Settings:
    """The operator's settings. Each attribute is the flag of the same name; times are seconds."""

    namespaces: tuple[str, ...]
    runtime_image: str
    runtime_version: str
    tools_image: str
    image_pull_policy: str
    fetch_resources: Resources | None
    prober_resources: Resources
    pod_run_as_user: int | None
    pod_run_as_group: int | None
    pod_fs_group: int | None
    ca_config_map: str
    ca_key: str
    metrics_bind_address: Address
    health_probe_bind_address: Address
    leader_elect: bool
    leader_election_namespace: str
    leader_election_id: str
    workers: int
    resync_seconds: float
    request_timeout_seconds: float
    watch_idle_seconds: float
    log_format: str
    log_level: str
    kubeconfig: str
    context: str


@dataclass(frozen=True, slots=True)
class _Option:
    """One flag: its default as text, how the text becomes a value, its text in `--help`."""

    name: str
    default: str
    read: Callable[[str], Any]
    help: str

    @property
    def flag(self) -> str:
        return _flag(self.name)

    @property
    def variable(self) -> str:
        return _variable(self.name)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _variable(name: str) -> str:
    return f"SLIPWAY_{name.upper()}"


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("is empty: give a value")
    return value.strip()


def _names(value: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))


def _number(least: float, most: float, unit: str) -> Callable[[str], float]:
    def read(value: str) -> float:
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        if not least <= number <= most:
            raise ValueError(f"is not a number of {unit} from {least:g} to {most:g}")
        return number

    return read


def _workers(value: str) -> int:
    if not value.isdecimal() or not 1 <= int(value) <= 256:  # noqa: PLR2004 - the bound is the sentence below
        raise ValueError("is not a whole number from 1 to 256")
    return int(value)


def _identity(least: int) -> Callable[[str], int | None]:
    def read(value: str) -> int | None:
        if not value.strip():
            return None
        if not value.isdecimal() or not least <= int(value) <= _HIGHEST_ID:
            raise ValueError(f"is not a number from {least} to {_HIGHEST_ID}, or empty to leave it out")
        return int(value)

    return read


def _truth(value: str) -> bool:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if value.lower() not in words:
        raise ValueError("is neither true nor false")
    return words[value.lower()]


def _address(value: str) -> Address:
    host, _, port = value.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:  # noqa: PLR2004 - the largest port there is
        raise ValueError("is not HOST:PORT, such as 0.0.0.0:8080 or :8080")
    return Address(host.strip("[]") or "0.0.0.0", int(port))  # noqa: S104 - a pod serves its own network


def _one_of(*words: str) -> Callable[[str], str]:
    def read(value: str) -> str:
        for word in words:
            if value.lower() == word.lower():
                return word
        raise ValueError(f"is not one of {', '.join(words)}")

    return read


def _own_namespace() -> str:
    try:
        with open(NAMESPACE_FILE, encoding="utf-8") as file:  # noqa: PTH123 - read once, before anything runs
            return file.read().strip() or "slipway-system"
    except OSError:
        return "slipway-system"


def _options() -> tuple[_Option, ...]:
    return (
        _Option("namespaces", "", _names, "Comma-separated namespaces to watch; empty: all of them."),
        _Option("runtime_image", "tensorflow/serving", _text, "Repository of the server image, without a tag."),
        _Option("runtime_version", "2.20.0", _text, "Version of TensorFlow Serving for specs without one."),
        _Option("tools_image", f"slipway/tools:{__version__}", _text, "Image of fetch and prober."),
        _Option(
            "image_pull_policy", "IfNotPresent", _one_of("Always", "IfNotPresent", "Never"), "Pull policy of pods."
        ),
        _Option(
            "fetch_resources",
            "",
            read_resources,
            "Requests and limits of the container fetch, as JSON; empty: those of the model's spec.resources.",
        ),
        _Option(
            "prober_resources",
            PROBER_RESOURCES.model_dump_json(),
            lambda value: read_resources(value) or Resources(),
            "Requests and limits of the container prober, as JSON; empty: none.",
        ),
        _Option("pod_run_as_user", str(USER), _identity(1), "User of model pods; empty: none is set."),
        _Option("pod_run_as_group", str(USER), _identity(0), "Group of model pods; empty: none is set."),
        _Option("pod_fs_group", str(USER), _identity(0), "Group of the volumes of model pods; empty: none is set."),
        _Option(
            "ca_config_map", "", str.strip, "ConfigMap of each namespace with CA certificates for fetch; empty: none."
        ),
        _Option("ca_key", "ca.crt", _text, "Key of that ConfigMap."),
        _Option("metrics_bind_address", "0.0.0.0:8080", _address, "HOST:PORT of /metrics."),
        _Option("health_probe_bind_address", "0.0.0.0:8081", _address, "HOST:PORT of /healthz and /readyz."),
        _Option("leader_elect", "true", _truth, "Elect a leader through a Lease, so that only one operator writes."),
        _Option("leader_election_namespace", _own_namespace(), _text, "Namespace of that Lease."),
        _Option("leader_election_id", "slipway-operator", _text, "Name of that Lease."),
        _Option("workers", "16", _workers, "How many ModelDeployments are reconciled in parallel."),
        _Option(
            "resync_seconds", "600", _number(1, 86400, "seconds"), "Interval of the resync, which lists everything."
        ),
        _Option("request_timeout_seconds", "10", _number(0.1, 300, "seconds"), "Timeout of one API request."),
        _Option(
            "watch_idle_seconds",
            "75",
            _number(1, 3600, "seconds"),
            "Silence after which a watch is restarted. The API server sends a bookmark about once a minute.",
        ),
        _Option("log_format", "text", _one_of("text", "json"), "text or json."),
        _Option("log_level", "info", _one_of("debug", "info", "warning", "error"), "debug, info, warning or error."),
        _Option("kubeconfig", "", str.strip, "kubeconfig file; empty: the pod's service account, else $KUBECONFIG."),
        _Option("context", "", str.strip, "Context of the kubeconfig; empty: its current one."),
    )


def _parser(options: Sequence[_Option]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Serves TensorFlow models: watches ModelDeployments and reconciles what they ask for.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    for option in options:
        text = f"{option.help} Default: {option.default or 'empty'}. Environment: {option.variable}."
        if option.read is _truth:
            parser.add_argument(option.flag, nargs="?", const="true", help=text, metavar="true|false", dest=option.name)
            parser.add_argument(
                option.flag.replace("--", "--no-", 1),
                action="store_const",
                const="false",
                dest=option.name,
                help=f"The same as {option.flag}=false.",
            )
        else:
            parser.add_argument(option.flag, help=text.replace("%", "%%"), metavar="VALUE", dest=option.name)
    return parser


_RENAMED = {
    "metrics_address": "metrics_bind_address",
    "health_address": "health_probe_bind_address",
    "lease_namespace": "leader_election_namespace",
    "lease_name": "leader_election_id",
}
"""Former names of flags and variables: they are refused with the new one."""


def _refuse_former_names(argv: Sequence[str], environ: Mapping[str, str]) -> None:
    given = {argument.partition("=")[0] for argument in argv} | set(environ)
    for former, successor in _RENAMED.items():
        for spell in (_flag, _variable):
            if spell(former) in given:
                raise SettingsError(f"{spell(former)} was renamed: use {spell(successor)}")


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """Return the settings in flags and environment.

    Raises:
        SettingsError: a value is invalid; the text names its flag or variable.
        SystemExit: `--help`, `--version`, or a flag that does not exist (exit code 2).
    """
    _refuse_former_names(argv, environ)
    options = _options()
    given = vars(_parser(options).parse_args(argv))
    values: dict[str, Any] = {}
    for option in options:
        source, raw = option.flag, given[option.name]
        if raw is None and option.variable in environ:
            source, raw = option.variable, environ[option.variable]
        try:
            values[option.name] = option.read(option.default if raw is None else raw)
        except ValueError as error:
            raise SettingsError(f"{source}={raw!r} {error}") from None
    if values["metrics_bind_address"] == values["health_probe_bind_address"] and values["metrics_bind_address"].port:
        raise SettingsError(
            "--metrics-bind-address and --health-probe-bind-address are the same: give each its own port"
        )
    return Settings(**values)


def load() -> Settings:
    """Return the settings of this process; if they are invalid, print why and exit with 2."""
    try:
        return parse(sys.argv[1:], os.environ)
    except SettingsError as error:
        _fail(str(error))


def _fail(message: str) -> NoReturn:
    print(f"{PROGRAM}: {message}. See {PROGRAM} --help.", file=sys.stderr)
    raise SystemExit(2)
