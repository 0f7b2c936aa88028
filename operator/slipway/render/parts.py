"""What several renderers share: whose child it is, its metadata, volumes by URI, texts that Kubernetes must not expand."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from slipway import names
from slipway.observed import Key, Manifest

MODELS = "/models"
CONFIG = f"{MODELS}/.config"
SOURCE_VOLUME = "source"
_PVC = "pvc://"


@dataclass(frozen=True, slots=True)
class Owner:
    """The ModelDeployment that the children belong to."""

    key: Key
    uid: str

    def metadata(self, name: str, number: int | None = None) -> dict[str, Any]:
        """Return a child's metadata; with `number`, of one that belongs to a revision."""
        return {
            "name": name,
            "namespace": self.key.namespace,
            "labels": names.labels(self.key.name, number),
            "ownerReferences": [names.owner_reference(self.key.name, self.uid)],
        }


@dataclass(frozen=True, slots=True)
class Claim:
    """A PersistentVolumeClaim, and the path in it that a `pvc://CLAIM/PATH` names."""

    name: str
    path: str

    def below(self, mount: str) -> str:
        """Return where the path is when the claim is mounted there."""
        return f"{mount}/{self.path}" if self.path else mount


def claim(uri: str | None) -> Claim | None:
    """Return what a `pvc://` URI names; None for any other, and for none."""
    if uri is None or not uri.startswith(_PVC):
        return None
    name, _, path = uri.removeprefix(_PVC).partition("/")
    return Claim(name, unquote(path).strip("/"))


def claim_volume(name: str, claimed: Claim) -> Manifest:
    """Return a volume of a claim. Read-only as a volume too: the kubelet would give all its files to the pod's group."""
    return {"name": name, "persistentVolumeClaim": {"claimName": claimed.name, "readOnly": True}}


def literal(text: str) -> str:
    """Return a container argument that arrives as it is: Kubernetes replaces `$(NAME)` and reads `$$` as `$`."""
    return text.replace("$", "$$")


def locked_down() -> Manifest:
    """Return the security context of every container."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
