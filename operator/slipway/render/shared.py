"""What several renderers share: paths in a pod, volumes of claims, arguments that Kubernetes must not expand."""

from dataclasses import dataclass
from urllib.parse import unquote

from slipway.api import Resources
from slipway.domain.objects import Manifest

MODELS = "/models"
CONFIG = f"{MODELS}/.config"
GOLDEN = f"{CONFIG}/golden"
"""Where fetch puts the golden set, in the pod's own volume."""
SOURCE_VOLUME = "source"
_PVC = "pvc://"


@dataclass(frozen=True, slots=True)
class Claim:
    """A PersistentVolumeClaim, and the path in it, of a `pvc://CLAIM/PATH`."""

    name: str
    path: str

    def below(self, mount: str) -> str:
        """Return where the path is when the claim is mounted at `mount`."""
        return f"{mount}/{self.path}" if self.path else mount

    def volume(self, name: str) -> Manifest:
        """Return a volume of the claim, read-only: the kubelet would otherwise give its files to the pod's group."""
        return {"name": name, "persistentVolumeClaim": {"claimName": self.name, "readOnly": True}}


def claim_of(uri: str | None) -> Claim | None:
    """Return the claim in a `pvc://` URI; None for any other URI, and for none."""
    if uri is None or not uri.startswith(_PVC):
        return None
    name, _, path = uri.removeprefix(_PVC).partition("/")
    return Claim(name, unquote(path).strip("/"))


def literal(text: str) -> str:
    """Return a container argument that arrives unchanged: Kubernetes expands `$(NAME)` and reads `$$` as `$`."""
    return text.replace("$", "$$")


def restricted() -> Manifest:
    """Return the security context of every container, as the restricted Pod Security Standard demands."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }


def resources(given: Resources) -> Manifest:
    """Return requests and limits as in a container."""
    found: Manifest = {}
    if given.requests:
        found["requests"] = dict(given.requests)
    if given.limits:
        found["limits"] = dict(given.limits)
    return found
