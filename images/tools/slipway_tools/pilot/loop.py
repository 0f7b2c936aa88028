"""The pilot's life: wait for the server, hold it against the gate once, then ask again and again while it serves.

    wait for the server -> fit gate, golden set and model -> every example -> warm-up -> latencies -> ready
    ready: one example every 10 s (pulse.py says what that means), every example each `every`
    out of the endpoints: asked each second; back when every example is answered rightly

A model that answers wrongly ends the pilot with its verdict; a server that does not answer never does.
"""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from slipway_tools.pilot.asking import Asker, Finding, judge
from slipway_tools.pilot.binding import bind
from slipway_tools.pilot.client import AskError, BusyError, Client, GoneError, RefusedError, SilentError
from slipway_tools.pilot.errors import GateFailedError
from slipway_tools.pilot.gate import Gate
from slipway_tools.pilot.goldenset import GoldenSet
from slipway_tools.pilot.pulse import Heard, Pulse
from slipway_tools.pilot.state import State
from slipway_tools.pilot.verdict import Verdict

START, SERVING = "start", "serving"
_LATENCY_TRIES = 3
_SILENT_TRIES = 3
# Before the pod has any load of its own.
_BUSY_TRIES = 30
_METADATA_SECONDS = 10.0
# A promise to /healthz: longer than anything that has a deadline of its own.
_MARGIN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often what is done, in seconds.

    Attributes:
        waiting: between questions to a server that has not answered yet.
        heartbeat: between single examples while it serves.
        outside: between single examples while it is out of the endpoints.
        busy: before a check is tried again that an overloaded server did not answer.
        jitter: share by which `every` varies, so that the pods of a model do not ask in step.
    """

    waiting: float = 0.1
    heartbeat: float = 10.0
    outside: float = 1.0
    busy: float = 10.0
    jitter: float = 0.1


@dataclass
class Loop:
    """One pilot; clock, sleep and chance are injected."""

    gate: Gate
    golden: GoldenSet
    client: Client
    state: State
    log: Callable[[str], None]
    rhythm: Rhythm = field(default_factory=Rhythm)
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = random.random
    _trouble: str = ""

    def run(self) -> None:
        """Run until the gate does not hold.

        Raises:
            GateFailedError: the verdict.
            GateInvalidError: gate, golden set and model do not fit together.
        """
        asker = self._start()
        self._ready("every bound holds")
        while True:
            asker = self._serve(asker)
            self._out()
            asker = self._return()
            self._ready("the server answers rightly again")

    def _start(self) -> Asker:
        silent = busy = 0
        while True:
            try:
                return self._first_check(self._connect())
            except GoneError as error:
                self._note(f"the server went away during the gate: {error}")
            except BusyError as error:
                busy += 1
                self._note(f"the server is busy: {error}")
                if busy >= _BUSY_TRIES:
                    raise self._failed(
                        f"the server turned the golden inputs away {busy} times, before it had any other request: {error}; "
                        "give it more memory, or the gate a smaller spec.rollout.gate.batchSize"
                    ) from None
                self._pause(self.rhythm.outside)
            except SilentError:
                silent += 1
                self._note(f"no answer within {self.gate.timeout:g} s")
                if silent >= _SILENT_TRIES:
                    raise self._failed(
                        f"the server gave no answer within {self.gate.timeout:g} s, {silent} times in a row; make the model "
                        "faster, or spec.rollout.gate.timeout longer"
                    ) from None
            except RefusedError as error:
                raise self._failed(
                    f"the server answered the golden inputs with {error.code}: {error.words}; the model cannot compute them"
                ) from None

    def _failed(self, message: str) -> GateFailedError:
        self.state.checked("failed")
        return GateFailedError(Verdict(message, stage=START))

    def _connect(self) -> Asker:
        """Wait until the server tells its signatures, and fit gate and golden set to them."""
        begun = self.clock()
        self.state.set("waiting for the server", ready=False)
        while True:
            self._alive()
            why = "nothing listens yet"
            if self.client.listening():
                try:
                    model = self.client.signatures(_METADATA_SECONDS)
                    break
                except AskError as error:
                    why = str(error)
            if self.clock() - begun > _MARGIN_SECONDS:
                begun = self.clock()
                self._note(f"still waiting for the server: {why}")
            self.sleep(self.rhythm.waiting)
        asker = Asker(self.gate, bind(self.gate, self.golden, model), self.client, self.clock)
        asker.alive = self._alive
        return asker

    def _first_check(self, asker: Asker) -> Asker:
        self._note("asking the golden examples")
        findings = asker.answers()
        self._judge(findings, START)
        self._note("timing answers")
        asker.warm_up()
        for attempt in range(_LATENCY_TRIES):
            slow = asker.latencies()
            if all(finding.holds for finding in slow):
                break
            self._log(slow, f"a latency bound was missed in attempt {attempt + 1} of {_LATENCY_TRIES}")
        self._judge([*findings, *slow], START)
        self.state.checked("passed", [*findings, *slow])
        self._log([*findings, *slow], "the gate holds")
        return asker

    def _judge(self, findings: Sequence[Finding], stage: str) -> None:
        try:
            judge(findings, stage)
        except GateFailedError:
            self.state.checked("failed", findings)
            raise

    def _serve(self, asker: Asker) -> Asker:
        """Ask on until the server has to leave the endpoints."""
        pulse = Pulse()
        next_check = self._next_check()
        next_beat = self.clock() + self.rhythm.heartbeat
        while not pulse.out:
            self._pause(max(0.0, min(next_beat, next_check) - self.clock()))
            if self.clock() >= next_check:
                try:
                    self._check(asker)
                    pulse, next_check = pulse.after(Heard.ANSWER), self._next_check()
                except AskError as error:
                    self.state.checked("busy" if isinstance(error, BusyError) else "unanswered")
                    next_check = self.clock() + self.rhythm.busy
                    pulse = (
                        pulse.after(self._heard(error))
                        if isinstance(error, GoneError | BusyError)
                        else self._beat(asker, pulse)
                    )
            else:
                pulse = self._beat(asker, pulse)
            next_beat = self.clock() + (self.rhythm.heartbeat if pulse == Pulse() else 0.0)
        return asker

    def _next_check(self) -> float:
        if self.gate.every is None:
            return float("inf")
        return self.clock() + self.gate.every * (1 + self.rhythm.jitter * (2 * self.chance() - 1))

    def _check(self, asker: Asker) -> None:
        """Ask every example; latencies are looked at only before the first request."""
        findings = asker.answers()
        self._judge(findings, SERVING)
        self.state.checked("passed", findings)

    def _beat(self, asker: Asker, pulse: Pulse) -> Pulse:
        patience = pulse.patience(self.gate.timeout)
        self._alive(patience + self.gate.timeout)
        try:
            asker.one(patience)
        except AskError as error:
            self._note(f"asked one example: {error}")
            return pulse.after(self._heard(error))
        return pulse.after(Heard.ANSWER)

    def _heard(self, error: AskError) -> Heard:
        self._trouble = str(error)
        kinds: Mapping[type[AskError], Heard] = {
            GoneError: Heard.GONE,
            BusyError: Heard.BUSY,
            RefusedError: Heard.REFUSED,
        }
        if type(error) in kinds:
            return kinds[type(error)]
        try:
            self.client.signatures(self.gate.timeout)
        except (SilentError, GoneError):
            return Heard.DEAF
        except AskError:
            return Heard.SLOW
        return Heard.SLOW

    def _out(self) -> None:
        why = f"the server does not answer: {self._trouble}"
        self.state.set(why, ready=False)
        self.log(f"out of the endpoints: {why}")

    def _return(self) -> Asker:
        """Ask until every example is answered rightly."""
        while True:
            try:
                asker = self._connect()
                self.state.set("the server answers again; asking the golden examples", ready=False)
                self._check(asker)
            except AskError as error:
                self.state.checked("busy" if isinstance(error, BusyError) else "unanswered")
                self.state.set(f"the server does not answer: {error}", ready=False)
                self._pause(self.rhythm.outside)
            else:
                return asker

    def _ready(self, why: str) -> None:
        self.state.set(why, ready=True)
        self.log(f"ready: {why}")

    def _pause(self, seconds: float) -> None:
        self._alive(seconds)
        self.sleep(seconds)

    def _alive(self, seconds: float = 0.0) -> None:
        self.state.alive_for(seconds + self.gate.timeout + _METADATA_SECONDS + _MARGIN_SECONDS)

    def _note(self, why: str) -> None:
        if not self.state.ready:
            self.state.set(why, ready=False)
        self.log(why)

    def _log(self, findings: Sequence[Finding], why: str) -> None:
        numbers = ", ".join(
            f"{found.bound.metric} {found.measured.value:.4g} ({found.bound.text})" for found in findings
        )
        self.log(f"{why}: {numbers}")
