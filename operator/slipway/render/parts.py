"""What several renderers share: whose child it is, its metadata, and texts that Kubernetes must not expand."""

from dataclasses import dataclass
from typing import Any

from slipway import names
from slipway.observed import Key


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


def literal(text: str) -> str:
    """Return a container argument that arrives as it is: Kubernetes replaces `$(NAME)` and reads `$$` as `$`."""
    return text.replace("$", "$$")
