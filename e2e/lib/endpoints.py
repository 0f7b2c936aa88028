"""Who got requests: watches pods and EndpointSlices from beginning to end, so that no moment between two looks is missed."""

import subprocess
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from dev.kit.kubectl import Kubectl
from dev.kit.model_deployments import selector

PODS = r'{{.metadata.uid}} {{index .metadata.labels "serving.slipway.dev/revision"}}{{"\n"}}'
SLICES = r'{{range .endpoints}}{{.targetRef.uid}} {{.conditions.ready}} {{.conditions.serving}}{{"\n"}}{{end}}'


@dataclass
class Endpoints:
    """What the watches saw.

    Attributes:
        revisions: revision of each pod, by its uid.
        listed: uids of pods that were in an EndpointSlice, ready or not.
        served: uids of pods that were in an EndpointSlice as ready or serving: only these can get a request.
    """

    revisions: dict[str, int] = field(default_factory=dict)
    listed: set[str] = field(default_factory=set)
    served: set[str] = field(default_factory=set)

    def pod(self, line: str) -> None:
        """Note a line of the watch of pods."""
        uid, revision = line.split()
        self.revisions[uid] = int(revision)

    def endpoint(self, line: str) -> None:
        """Note a line of the watch of EndpointSlices."""
        uid, *states = line.split()
        self.listed.add(uid)
        if "true" in states:
            self.served.add(uid)

    def of(self, revision: int) -> set[str]:
        """Return the pods of a revision that there were."""
        return {uid for uid, number in self.revisions.items() if number == revision}

    @property
    def by_revision(self) -> dict[int, set[str]]:
        """Return the pods that could get requests, by their revision."""
        found: dict[int, set[str]] = defaultdict(set)
        for uid in self.served:
            found[self.revisions[uid]].add(uid)
        return dict(found)


@contextmanager
def watched(kubectl: Kubectl, name: str) -> Iterator[Endpoints]:
    """Yield what is seen of a model's pods and endpoints while the body runs."""
    seen, processes = Endpoints(), []
    with ExitStack() as stack:
        slices = f"kubernetes.io/service-name={name}"
        for kind, labels, template, note in (
            ("pods", selector(name), PODS, seen.pod),
            ("endpointslices", slices, SLICES, seen.endpoint),
        ):
            arguments = kubectl.argv("get", kind, f"--selector={labels}", "--watch", f"--output=go-template={template}")
            process = stack.enter_context(subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True))
            thread = threading.Thread(target=_follow, args=(process, note))
            thread.start()
            stack.callback(thread.join)
            stack.callback(process.kill)
            processes.append(process)
        yield seen
        assert [process.poll() for process in processes] == [None, None], "a watch has ended early"


def _follow(process: "subprocess.Popen[str]", note: Callable[[str], None]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip():
            note(line)
