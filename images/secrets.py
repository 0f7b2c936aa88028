"""How a build reaches the package index from this host: its pip settings and its certificate authorities.

They are handed over as build secrets, so neither ends up in a layer or in the history of an image.
"""

import ast
import configparser
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from images.run import output_of

# What says where packages come from; local folders and behaviour stay with the host.
_OPTIONS = {"index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "retries"}
_CA_VARIABLES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
CA_TARGET = "/run/secrets/ca.crt"


def write(folder: Path, environment: Mapping[str, str] = os.environ) -> dict[str, Path]:
    """Write the secrets below `folder` and return them by the id that the Dockerfiles mount."""
    settings = pip_settings(output_of([sys.executable, "-m", "pip", "config", "list"]) or "")
    authority = _authority(settings, environment)
    config = configparser.ConfigParser(interpolation=None)
    config["global"] = {key: value for key, value in settings.items() if key in _OPTIONS}
    config["global"].update({"disable-pip-version-check": "true", "root-user-action": "ignore"})
    secrets = {"pip": folder / "pip.conf"}
    if authority is not None:
        config["global"]["cert"] = CA_TARGET
        secrets["ca"] = authority
    with os.fdopen(os.open(secrets["pip"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        config.write(out)
    return secrets


def pip_settings(listing: str) -> dict[str, str]:
    """Parse `pip config list`; the environment wins over the command's own section, that one over [global]."""
    found: dict[tuple[int, str], str] = {}
    rank = {"global": 0, "download": 1, "install": 2, ":env:": 3}
    for line in listing.splitlines():
        name, equals, quoted = line.partition("=")
        section, _, option = name.rpartition(".")
        if equals and section in rank:
            found[rank[section], option] = str(ast.literal_eval(quoted))
    return {option: value for (_, option), value in sorted(found.items())}


def _authority(settings: Mapping[str, str], environment: Mapping[str, str]) -> Path | None:
    for text in (settings.get("cert"), *(environment.get(name) for name in _CA_VARIABLES)):
        if text and Path(text).is_file():
            return Path(text)
    return None
