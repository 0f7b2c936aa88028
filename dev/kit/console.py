"""What the terminal shows: one heading a step, indented details, and how long each step took."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import TextIO

from dev.errors import DevError
from dev.repository import ROOT

INDENT = "    "


@dataclass
class Console:
    """Writes to `stream`; bold headings only where that is a terminal.

    Attributes:
        times: seconds that each finished step took, in order.
    """

    stream: TextIO = field(default_factory=lambda: sys.stdout)
    times: list[tuple[str, float]] = field(default_factory=list)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Print a heading, run the body, note its time. A body that raises is not noted."""
        self._write(self._bold(f"==> {title}"))
        started = time.monotonic()
        yield
        seconds = time.monotonic() - started
        self.times.append((title, seconds))
        self.detail(f"done in {seconds:.1f} s")

    def detail(self, text: str) -> None:
        """Print text, each line of it indented."""
        for line in text.rstrip("\n").splitlines():
            self._write(INDENT + line if line else "")

    def summary(self) -> None:
        """Print the time of each step and their sum."""
        width = max((len(title) for title, _ in self.times), default=0)
        for title, seconds in [*self.times, ("together", sum(seconds for _, seconds in self.times))]:
            self.detail(f"{title:<{max(width, 8)}}  {seconds:6.1f} s")

    def _bold(self, text: str) -> str:
        return f"\033[1m{text}\033[0m" if self.stream.isatty() else text

    def _write(self, line: str) -> None:
        print(line, file=self.stream, flush=True)


def table(rows: list[tuple[str, ...]]) -> str:
    """Return the rows as lines with aligned columns; the first column to the left, the others to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def show(console: Console, argv: Sequence[str | Path]) -> str:
    """Run a command in the repository's root and return its result, what it prints to standard output.

    Its progress, on standard error, is shown line by line as it comes.

    Raises:
        DevError: it failed; its own words are on the terminal already.
    """
    with beginning(argv) as finish:
        return finish(console)


@contextmanager
def beginning(argv: Sequence[str | Path]) -> Iterator[Callable[[Console], str]]:
    """Begin a command as `show` runs it, in the background; yield what shows its progress, past and to come, and returns its result.

    A command that has not ended when the body does is terminated.
    """
    words = [str(word) for word in argv]
    with (
        tempfile.TemporaryFile("w+", errors="replace") as result,
        subprocess.Popen(
            words, cwd=ROOT, stdout=result, stderr=subprocess.PIPE, text=True, errors="replace"
        ) as process,
    ):
        progress: SimpleQueue[str | None] = SimpleQueue()
        reader = Thread(target=_collect, args=(process, progress))
        reader.start()  # a pipe that nobody reads would stop the command once it is full

        def finish(console: Console) -> str:
            for line in iter(progress.get, None):
                console.detail(line)
            if (status := process.wait()) != 0:
                raise DevError(f"`{' '.join(words)}` failed with status {status}")
            result.seek(0)
            return result.read()

        try:
            yield finish
        finally:
            process.terminate()
            reader.join()


def _collect(process: "subprocess.Popen[str]", progress: SimpleQueue[str | None]) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        progress.put(line)
    progress.put(None)
