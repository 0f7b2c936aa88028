"""Which certificate authorities a download accepts: the system's, and those that the cluster's administrator has added."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from slipway_tools.errors import ModelError, Reason

_UNKNOWN_AUTHORITY = {18, 19, 20, 21}
_WRONG_TIME = {9, 10}
_WRONG_NAME = {62, 64}
"""OpenSSL's X509_V_ERR_ numbers: the authority is not known; not yet or no longer valid; for another host name or address."""


@dataclass(frozen=True, slots=True)
class Authorities:
    """A key of a ConfigMap of the pod's own namespace, which need not exist.

    Attributes:
        directory: where it is mounted; None if the administrator has set none.
        name: of the ConfigMap, for messages.
        key: of the ConfigMap.
    """

    directory: Path | None = None
    name: str = ""
    key: str = "ca.crt"

    def context(self) -> ssl.SSLContext:
        """Return a context that accepts the system's authorities, or those in SSL_CERT_FILE, and the added ones.

        Raises:
            ModelError: SourceUnreachable: what was added is no list of certificates.
        """
        context = ssl.create_default_context()
        if self._there():
            try:
                context.load_verify_locations(self._file())
            except ssl.SSLError:
                raise ModelError(
                    Reason.SOURCE_UNREACHABLE,
                    f"key {self.key} of the ConfigMap {self.name} has no certificates: correct it, or remove it "
                    "(it holds certificates as PEM, -----BEGIN CERTIFICATE-----)",
                ) from None
        return context

    def advice(self, code: int) -> str:
        """Return what helps against a certificate that is not accepted; `code` is OpenSSL's."""
        if code in _WRONG_TIME:
            return "renew it, or correct the clock of the node"
        if code in _WRONG_NAME:
            return "use the name that it was made for, or a certificate of this name"
        if code not in _UNKNOWN_AUTHORITY:
            return "use a certificate of a known authority"
        if self.directory is None:
            return (
                "use a certificate of a known authority, or add yours for all models: the chart's value "
                "modelPods.caBundle.configMap"
            )
        if not self._there():
            return (
                f"add its authority: the ConfigMap {self.name} with the key {self.key}, which the operator names for that "
                "(the chart's modelPods.caBundle), is missing in this namespace"
            )
        return f"add its authority to key {self.key} of the ConfigMap {self.name} in this namespace"

    def _file(self) -> Path:
        return (self.directory or Path()) / self.key

    def _there(self) -> bool:
        return self.directory is not None and self._file().is_file()
