"""Which provider manages a cluster: the one that made it, the requested one, or the one that this machine supports."""

from dataclasses import dataclass

from dev.cluster import state
from dev.cluster.providers.existing import Existing
from dev.cluster.providers.interface import Provider, Say
from dev.cluster.providers.kind import Kind
from dev.cluster.providers.local import Local
from dev.errors import DevError
from dev.shell import find, run


def decide(requested: str, made_by: str | None, context: str, *, docker: bool) -> str:
    """Name of the provider. Pure; `made_by` is the provider of a cluster that exists already.

    Raises DevError when the request contradicts what is there, or a context comes without its provider.
    """
    wanted = "existing" if context and requested == "auto" else requested
    if context and wanted != "existing":
        raise DevError(f"--context belongs to the provider existing, not to {wanted}")
    if made_by is not None:
        if wanted not in ("auto", made_by):
            raise DevError(
                f"the cluster was made by the provider {made_by}, not {wanted}",
                "Take it down first, or choose another --name.",
            )
        return made_by
    if wanted != "auto":
        return wanted
    return "kind" if docker else "local"


def docker_answers() -> bool:
    """True when a Docker daemon can be talked to."""
    if find("docker") is None:
        return False
    try:
        run(["docker", "version", "--format", "{{.Server.Version}}"], timeout=20)
    except DevError:
        return False
    return True


@dataclass(frozen=True)
class Wish:
    """The options of `up`; `nodes` is None if they are not given."""

    provider: str = "auto"
    context: str = ""
    install: bool = False
    nodes: int | None = None
    metrics: bool = True


def provider_for(name: str, say: Say, wish: Wish | None = None) -> Provider:
    """The provider of the cluster called `name`."""
    wish = wish or Wish()
    record = state.load(name)
    made_by = record.provider if record else None
    docker = made_by is None and wish.provider == "auto" and docker_answers()
    kind = decide(wish.provider, made_by, wish.context, docker=docker)
    if kind != "local" and wish.nodes is not None:
        raise DevError(f"--nodes belongs to the provider local, not to {kind}")
    if kind == "kind":
        return Kind(name, say)
    if kind == "existing":
        return Existing(name, say, wish.context or (record.context if record else ""))
    return Local(name, say, install_packages=wish.install, nodes=wish.nodes, metrics=wish.metrics)
