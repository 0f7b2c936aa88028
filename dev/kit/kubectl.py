"""kubectl as a typed object: run, read, apply, watch, forward. The only way in which demo, benchmarks and e2e tests reach a cluster."""

import json
import os
import re
import selectors
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dev.errors import DevError

Manifest = dict[str, Any]
RENEW_SECONDS = 20.0
_FORWARDED = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) -> (\d+)")


class KubectlError(DevError):
    """kubectl said no; the text is what it said."""


@dataclass(frozen=True)
class Output:
    """What one kubectl run printed."""

    stdout: str
    stderr: str

    @property
    def warnings(self) -> list[str]:
        """Warnings of the API server, Pod Security among them."""
        return [line for line in self.stderr.splitlines() if line.startswith("Warning:")]


@dataclass(frozen=True)
class Kubectl:
    """One cluster, and the namespace that is meant where none is named."""

    program: Path
    kubeconfig: Path
    namespace: str = "default"

    def within(self, namespace: str) -> "Kubectl":
        """Return the same for another namespace."""
        return replace(self, namespace=namespace)

    def argv(self, *arguments: str) -> list[str]:
        """Return the full command line."""
        return [str(self.program), f"--kubeconfig={self.kubeconfig}", f"--namespace={self.namespace}", *arguments]

    def run(self, *arguments: str, stdin: str | bytes | None = None, timeout: float = 60) -> Output:
        """Run kubectl to its end.

        Raises:
            KubectlError: it failed, or took longer than `timeout` seconds.
        """
        data = stdin.encode() if isinstance(stdin, str) else stdin
        try:
            done = subprocess.run(self.argv(*arguments), input=data, capture_output=True, timeout=timeout, check=False)
        except subprocess.TimeoutExpired:
            raise KubectlError(f"kubectl {' '.join(arguments)}: no answer within {timeout:.0f} s") from None
        output = Output(done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
        if done.returncode != 0:
            said = output.stderr.strip() or output.stdout.strip() or f"exit status {done.returncode}"
            raise KubectlError(f"kubectl {' '.join(arguments)}: {said}")
        return output

    def get(self, kind: str, name: str) -> Manifest | None:
        """Return one object, or None where there is none of that name."""
        text = self.run("get", kind, name, "--ignore-not-found", "--output=json").stdout
        return _object(text) if text.strip() else None

    def items(self, kind: str, selector: str = "") -> list[Manifest]:
        """Return the objects of a kind, by label selector."""
        return list(_object(self.run("get", kind, f"--selector={selector}", "--output=json").stdout)["items"])

    def apply(self, *manifests: Manifest, server_side: bool = False) -> Output:
        """Apply manifests; their namespace is this one unless they say otherwise."""
        document = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        flags = ["--server-side", "--force-conflicts"] if server_side else []
        return self.run("apply", *flags, "--filename=-", stdin=json.dumps(document))

    def apply_file(self, path: Path) -> Output:
        """Apply a YAML file."""
        return self.run("apply", f"--filename={path}")

    def patch(self, kind: str, name: str, change: Manifest, *, subresource: str = "") -> Output:
        """Merge a change into an object."""
        extra = [f"--subresource={subresource}"] if subresource else []
        return self.run("patch", kind, name, "--type=merge", f"--patch={json.dumps(change)}", *extra)

    @contextmanager
    def watch(self, kind: str, name: str, seconds: float, renew: float = RENEW_SECONDS) -> Iterator[Iterator[Manifest]]:
        """Yield the object as it is and then at each change, until `seconds` have gone by.

        It is begun anew every `renew` seconds: then the object comes as it is once more, for those who look at more than
        the object whenever it comes. One that does not exist yet is waited for.
        """
        # For a single name, kubectl 1.36 leaves out the first event of the watch, which is news where the object has changed
        # since it was read. Of a list, even of one, it tells everything.
        chosen = f"--field-selector=metadata.name={name}"
        with ExitStack() as stack:
            yield self._states(stack, self.argv("get", kind, chosen, "--watch", "--output=json"), seconds, renew)

    def _states(self, stack: ExitStack, arguments: Sequence[str], seconds: float, renew: float) -> Iterator[Manifest]:
        deadline = time.monotonic() + seconds
        while (now := time.monotonic()) < deadline:
            process = stack.enter_context(subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
            stack.callback(process.kill)
            yield from _documents(process, min(now + renew, deadline))
            if process.poll() is not None:
                return  # it ended by itself: nothing is watched any more
            stack.pop_all().close()

    @contextmanager
    def port_forward(self, target: str, ports: Sequence[int], seconds: float = 30) -> Iterator[dict[int, int]]:
        """Forward free local ports to `ports` of a Service or pod; yield {remote port: local port}."""
        arguments = self.argv("port-forward", target, *(f":{port}" for port in ports))
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            try:
                yield _forwarded(process, ports, time.monotonic() + seconds)
            finally:
                process.kill()


def _object(text: str) -> Manifest:
    found = json.loads(text)
    assert isinstance(found, dict)
    return found


def _chunks(process: "subprocess.Popen[bytes]", deadline: float) -> Iterator[str]:
    """Yield what the process prints until it ends or the deadline (monotonic clock) passes."""
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            if selector.select(left):
                data = os.read(process.stdout.fileno(), 1 << 16)
                if not data:
                    # The output ends a moment before the process does, and its exit status is read next.
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(left)
                    return
                yield data.decode(errors="replace")


def _documents(process: "subprocess.Popen[bytes]", deadline: float) -> Iterator[Manifest]:
    decoder, buffer = json.JSONDecoder(), ""
    for chunk in _chunks(process, deadline):
        buffer = (buffer + chunk).lstrip()
        while buffer:
            try:
                found, end = decoder.raw_decode(buffer)
            except ValueError:
                break  # the rest of the document is still to come
            yield found
            buffer = buffer[end:].lstrip()
    _complain(process)


def _forwarded(process: "subprocess.Popen[bytes]", ports: Sequence[int], deadline: float) -> dict[int, int]:
    text, found = "", dict[int, int]()
    for chunk in _chunks(process, deadline):
        text += chunk
        found = {int(remote): int(local) for local, remote in _FORWARDED.findall(text)}
        if set(found) >= set(ports):
            return found
    _complain(process)
    raise KubectlError(f"kubectl port-forward opened {sorted(found)} of the ports {sorted(ports)}")


def _complain(process: "subprocess.Popen[bytes]") -> None:
    """Raise what the process said last, if it ended by itself with an error."""
    if process.poll():
        assert process.stderr is not None
        raise KubectlError(process.stderr.read().decode(errors="replace").strip() or "kubectl ended")
