"""Runs the operator under a sampling profiler: `python -m dev.bench.profiler OUT FLAGS…` instead of `python -m slipway FLAGS…`.

Every few milliseconds of CPU time the kernel sends a signal, whose handler notes the Python stack. That costs a few
percent, where cProfile would double the time of what is measured. OUT gets collapsed stacks (the input of flame graph
tools); `summarise` turns them into a table.
"""

import atexit
import runpy
import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

INTERVAL_SECONDS = 0.004
_DEPTH = 60


class Sampler:
    """Counts stacks in the main thread, which is where the operator's event loop runs."""

    def __init__(self) -> None:
        self.stacks: Counter[tuple[tuple[str, str], ...]] = Counter()

    def start(self) -> None:
        """Begin; call it in the main thread."""
        signal.signal(signal.SIGPROF, self._note)
        signal.siginterrupt(signal.SIGPROF, False)  # noqa: FBT003 - takes no keywords
        signal.setitimer(signal.ITIMER_PROF, INTERVAL_SECONDS, INTERVAL_SECONDS)

    def stop(self) -> None:
        """End; a signal that is under way is ignored."""
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, signal.SIG_IGN)

    def _note(self, _number: int, frame: FrameType | None) -> None:
        stack: list[tuple[str, str]] = []
        while frame is not None and len(stack) < _DEPTH:
            stack.append((frame.f_code.co_filename, frame.f_code.co_qualname))
            frame = frame.f_back
        self.stacks[tuple(reversed(stack))] += 1

    def collapsed(self) -> str:
        """Return one line per stack: frames from the outermost in, divided by semicolons, and the number of samples."""
        lines = (f"{';'.join(_frame(*frame) for frame in stack)} {count}" for stack, count in self.stacks.items())
        return "\n".join(lines) + "\n"


def _frame(file: str, function: str) -> str:
    module = file.rpartition("site-packages/")[2].rpartition("/python3.11/")[2].rpartition("/operator/")[2]
    return f"{module.removesuffix('.py')}:{function}".replace(" ", "_").replace(";", ",")


def summarise(collapsed: str, rows: int = 40) -> str:
    """Return the functions with most samples, by themselves and with what they call, as text."""
    own: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for line in filter(None, collapsed.splitlines()):
        frames_text, _, count_text = line.rpartition(" ")
        frames, count = frames_text.split(";"), int(count_text)
        own[frames[-1]] += count
        for frame in set(frames):
            whole[frame] += count
    total = sum(own.values())

    def part(title: str, counts: Counter[str]) -> list[str]:
        return [title, *(f"  {count / total:6.1%}  {frame}" for frame, count in counts.most_common(rows))]

    lines = [f"{total} samples", *part("by themselves:", own), *part("with what they call:", whole)]
    return "\n".join(lines)


def main() -> None:
    """Run the operator with the remaining arguments and write its profile when it ends."""
    out, *flags = sys.argv[1:]
    sampler = Sampler()

    def finish() -> None:
        sampler.stop()
        Path(out).write_text(sampler.collapsed())

    atexit.register(finish)
    sys.argv = ["slipway", *flags]
    sampler.start()
    runpy.run_module("slipway", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
