"""The provider `existing`: a cluster that somebody else runs, reached through a context that was named on purpose.

Whatever happens to be the current context of a kubeconfig may be production; it is never used unless it was named.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from dev.cluster import binaries, state
from dev.cluster.paths import kubeconfig_path
from dev.cluster.private_files import write_private
from dev.cluster.providers.interface import Fact, Say
from dev.cluster.providers.kind import node_fact
from dev.cluster.state import Record
from dev.errors import DevError
from dev.shell import run


def guard(context: str, known: Sequence[str], recorded: str) -> str:
    """The context to use. Pure: `known` are the kubeconfig's contexts, `recorded` the one used before.

    Raises DevError when none was named, when it does not exist, or when it is not the one used before.
    """
    listed = ", ".join(known) or "none"
    if not context:
        raise DevError(
            "the context of the existing cluster must be named, the current one is not used",
            f"`python -m dev.cluster up --context NAME`; your kubeconfig has: {listed}.",
        )
    if context not in known:
        raise DevError(f"your kubeconfig has no context {context!r}", f"It has: {listed}.")
    if recorded and recorded != context:
        raise DevError(f"this name stands for the context {recorded!r} already", "Take it down, or use --name.")
    return context


class Existing:
    """See the module's text. `down` forgets the cluster and leaves it as it is."""

    def __init__(self, name: str, say: Say, context: str) -> None:
        self._name, self._say, self._context = name, say, context

    def kubeconfig(self) -> Path:
        """See Provider."""
        return kubeconfig_path(self._name)

    def up(self) -> None:
        """See Provider; the context is copied, alone, into a kubeconfig of its own."""
        record = state.load(self._name)
        known = self._run("config", "get-contexts", "--output", "name").split()
        context = guard(self._context, known, record.context if record else "")
        text = self._run("config", "view", "--minify", "--flatten", "--raw", "--context", context)
        state.save(self._name, Record("existing", context=context))
        write_private(self.kubeconfig(), text)
        self._run("--kubeconfig", str(self.kubeconfig()), "version", "--request-timeout", "10s")
        self._say(f"using the context {context}")

    def down(self) -> None:
        """See Provider."""
        state.forget(self._name)

    def status(self) -> list[Fact]:
        """See Provider."""
        nodes = json.loads(self._run("--kubeconfig", str(self.kubeconfig()), "get", "nodes", "--output", "json"))
        return [Fact("context", good=True, detail=self._context), *map(node_fact, nodes["items"])]

    def load(self, images: Sequence[str]) -> None:
        """See Provider; always refused."""
        raise DevError(
            f"{', '.join(images)} cannot be loaded into a cluster that is not ours",
            "Push them to a registry that the cluster pulls from.",
        )

    def _run(self, *words: str) -> str:
        return run([binaries.ensure("kubectl", self._say), *words], timeout=60)
