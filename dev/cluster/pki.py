"""A certificate authority in a folder, made with the openssl command line (3.0 or newer): no Python dependency."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dev.errors import DevError
from dev.shell import run

_DAYS = "3650"
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc")


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, both PEM files."""

    cert: Path
    key: Path


def request_config(common_name: str, organizations: Sequence[str], alt_names: Sequence[str], *, authority: bool) -> str:
    """Text of the openssl configuration for one certificate.

    Kubernetes reads the user's name from the common name and its groups from the organizations; `alt_names` are
    written `DNS:name` or `IP:address`.
    """
    names = [
        *(f"{index}.O = {_escape(group)}" for index, group in enumerate(organizations)),
        f"CN = {_escape(common_name)}",
    ]
    if authority:
        extensions = ["basicConstraints = critical, CA:true", "keyUsage = critical, keyCertSign, cRLSign"]
    else:
        extensions = [
            "basicConstraints = critical, CA:false",
            "keyUsage = critical, digitalSignature",
            "extendedKeyUsage = clientAuth, serverAuth",
            "authorityKeyIdentifier = keyid",
        ]
    if alt_names:
        extensions.append(f"subjectAltName = {', '.join(alt_names)}")
    return "\n".join(
        [
            "[req]", "prompt = no", "utf8 = yes", "string_mask = utf8only", "distinguished_name = name",
            "x509_extensions = extensions",
            "[name]", *names,
            "[extensions]", "subjectKeyIdentifier = hash", *extensions, "",
        ]
    )  # fmt: skip


def create_authority(folder: Path, name: str = "ca") -> Pair:
    """The certificate authority called `name` in `folder`; made when it is not there yet."""
    return _create(folder, name, request_config(f"slipway {name}", (), (), authority=True), None)


def issue(
    authority: Pair, folder: Path, name: str, *, user: str, groups: Sequence[str] = (), alt_names: Sequence[str] = ()
) -> Pair:
    """A certificate signed by `authority`, for clients and servers alike; made when `folder` lacks it."""
    return _create(folder, name, request_config(user, groups, alt_names, authority=False), authority)


def create_signing_key(folder: Path, name: str = "service-account") -> Pair:
    """The key pair that signs service account tokens; `cert` is the public key."""
    pair = Pair(folder / f"{name}.pub", folder / f"{name}.key")
    if not pair.cert.exists():
        folder.mkdir(parents=True, exist_ok=True)
        run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", pair.key])
        pair.key.chmod(0o600)
        run(["openssl", "pkey", "-in", pair.key, "-pubout", "-out", pair.cert])
    return pair


def _create(folder: Path, name: str, config: str, authority: Pair | None) -> Pair:
    pair = Pair(folder / f"{name}.crt", folder / f"{name}.key")
    if pair.cert.exists() and pair.key.exists():
        return pair
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=folder) as scratch:
        settings, cert, key = (Path(scratch) / part for part in ("request.cnf", "cert", "key"))
        settings.write_text(config)
        argv: list[str | Path] = ["openssl", "req", "-x509", "-config", settings, "-days", _DAYS, *_KEY]
        argv += ["-keyout", key, "-out", cert]
        if authority is not None:
            argv += ["-CA", authority.cert, "-CAkey", authority.key]
        _run_openssl(argv)
        key.chmod(0o600)
        # The certificate last: a pair counts as made when its certificate is there.
        key.replace(pair.key)
        cert.replace(pair.cert)
    return pair


def _run_openssl(argv: Sequence[str | Path]) -> None:
    try:
        run(argv)
    except DevError as error:
        raise DevError(error.message, "OpenSSL 3.0 or newer is needed: `apt-get install openssl`.") from error


def _escape(value: str) -> str:
    """Guards the characters that mean something in an openssl configuration file."""
    if not value or "\n" in value:
        raise DevError(f"{value!r} cannot be the name of a user or group")
    return "".join(f"\\{char}" if char in '\\"#$' else char for char in value)


__all__ = ["Pair", "create_authority", "create_signing_key", "issue", "request_config"]
