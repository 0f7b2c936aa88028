"""The one interface behind which a cluster comes from somewhere."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

Say = Callable[[str], None]


@dataclass(frozen=True)
class Fact:
    """One line of `status`: what it is about, whether that is as it should be, and a word on it."""

    subject: str
    good: bool
    detail: str


class Provider(Protocol):
    """Makes, looks after and removes one cluster. Every method may raise DevError."""

    def up(self) -> None:
        """Makes the cluster, or repairs it; quick when there is nothing to do. Its kubeconfig is written at the end."""

    def down(self) -> None:
        """Removes the cluster and everything it left on this machine. Nothing happens when there is none."""

    def status(self) -> list[Fact]:
        """What the cluster is made of and how that is doing."""

    def load(self, images: Sequence[str]) -> None:
        """Puts images (archive files, or names that a local Docker daemon knows) where pods can use them."""

    def kubeconfig(self) -> Path:
        """The file that `up` wrote."""
