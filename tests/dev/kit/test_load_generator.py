"""The load generator: open-loop, its rate kept or said to be missed, every failure counted. The server is here."""

import asyncio
import base64
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

import grpc
import pytest

from dev.kit.load import control, generator, observe
from dev.kit.load.generator import Load, Plan, Report
from dev.repository import ROOT

Handler = Callable[[bytes, Any], Awaitable[bytes]]


@asynccontextmanager
async def serving(handler: Handler, **options: int) -> AsyncIterator[str]:
    """A server on loopback that answers Predict with `handler`."""
    server = grpc.aio.server(options=list(options.items()))
    service, method = generator.PREDICT.strip("/").split("/")
    handlers = {method: grpc.unary_unary_rpc_method_handler(handler)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


def plan(target: str, **changes: Any) -> Plan:
    """A plan whose request is b"question"."""
    return Plan(target, base64.b64encode(b"question").decode(), **{"channels": 3, "fresh": 0} | changes)


@pytest.fixture(autouse=True)
def no_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    """The generator ends with its standard input; here it ends with its calls."""

    async def never(_: Load) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Load, "_listen", never)


async def test_it_sends_what_it_was_told_and_counts_the_answers(capsys: pytest.CaptureFixture[str]) -> None:
    peers = set()

    async def echo(request: bytes, context: Any) -> bytes:
        peers.add(context.peer())
        return request

    async with serving(echo) as target:
        report = await Load(plan(target, rate=200, calls=100, fresh=50)).run()
    assert (report.sent, report.unsent, report.codes, report.failures) == (100, 0, {"OK": 100}, [])
    assert report.answers == {base64.b64encode(b"question").decode(): 100}
    assert len(peers) == 3 + 25  # every fourth call over a channel of its own
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["failed"] == 0


async def test_slow_answers_do_not_slow_it_down() -> None:
    arrived = 0
    every = asyncio.Event()

    async def wait_for_all(request: bytes, _: Any) -> bytes:
        nonlocal arrived
        arrived += 1
        if arrived == 40:
            every.set()
        await every.wait()  # a client that waited for an answer before its next request would never get one
        return request

    async with serving(wait_for_all) as target:
        report = await Load(plan(target, rate=200, calls=40)).run()
    assert report.codes == {"OK": 40}
    assert report.latency["max"] > report.latency["p50"] > 0


async def test_every_failure_is_counted_with_its_words() -> None:
    async def refuse(_: bytes, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "no\nroom")
        return b"never"

    async with serving(refuse) as target:
        report = await Load(plan(target, rate=500, calls=80)).run()
    assert report.codes == {"RESOURCE_EXHAUSTED": 80}
    assert len(report.failures) == 50
    assert report.failures[0].endswith("held RESOURCE_EXHAUSTED: no room")


async def test_nobody_there_is_a_failure_and_no_wait() -> None:
    async with serving(lambda request, _: request) as target:  # type: ignore[arg-type,return-value]
        pass
    report = await Load(plan(target, rate=100, calls=10, fresh=10)).run()
    assert report.codes == {"UNAVAILABLE": 10}


async def test_calls_left_out_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generator, "_MOST_OUTSTANDING", 5)
    never = asyncio.Event()

    async def hang(request: bytes, _: Any) -> bytes:
        await never.wait()
        return request

    async with serving(hang) as target:
        report = await Load(plan(target, rate=500, calls=20, deadline=3)).run()
    assert (report.sent, report.unsent, report.codes) == (5, 15, {"DEADLINE_EXCEEDED": 5})
    with pytest.raises(AssertionError, match="the generator was the limit"):
        control.judge({"ClusterIP": report}, 1)


async def test_a_connection_that_comes_of_age_costs_no_call() -> None:
    peers = set()

    async def echo(request: bytes, context: Any) -> bytes:
        peers.add(context.peer())
        return request

    aged = {"grpc.max_connection_age_ms": 500, "grpc.max_connection_age_grace_ms": 60000}
    async with serving(echo, **aged) as target:
        report = await Load(plan(target, rate=200, calls=600, channels=2)).run()
    assert report.codes == {"OK": 600}
    assert len(peers) >= 6  # 3 s: each of two channels connected again and again


async def test_as_a_process_it_ends_with_its_standard_input() -> None:
    async def echo(request: bytes, _: Any) -> bytes:
        return request

    async with serving(echo) as target:
        words = [sys.executable, "-m", "dev.kit.load.generator", json.dumps(asdict(plan(target, rate=100)))]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*words, cwd=ROOT, stdin=pipe, stdout=pipe)
        assert process.stdout is not None
        assert json.loads(await process.stdout.readline())["failed"] == 0
        output, _ = await asyncio.wait_for(process.communicate(b""), 30)
    report = Report(**json.loads(output.splitlines()[-1]))
    assert report.codes == {"OK": report.sent}


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (Report(sent=10, codes={"OK": 10}, late={"p99": 5000.0}), "did not keep its rate"),
        (Report(sent=1, codes={"OK": 1}, late={"p99": 1.0}), "too few calls"),
    ],
)
def test_a_run_that_says_nothing_is_refused(report: Report, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        control.judge({"headless": report}, 10)


def test_what_was_lost_is_told_by_service() -> None:
    good = Report(codes={"OK": 3})
    bad = Report(codes={"OK": 2, "UNAVAILABLE": 1}, failures=["gone"])
    assert control.lost({"ClusterIP": good, "headless": bad}) == {"headless": ["gone"]}


@pytest.mark.parametrize(
    ("counts", "expected"), [({"a": 5, "b": 5}, 0.0), ({"a": 9, "b": 11}, 0.1), ({"a": 0, "b": 4}, 1.0)]
)
def test_unevenness_is_the_farthest_from_an_equal_share(counts: dict[str, int], expected: float) -> None:
    assert observe.unevenness(counts) == pytest.approx(expected)
    with pytest.raises(AssertionError, match="not the same pods"):
        observe.between({"a": 1}, counts)


def test_capacity_counts_ready_endpoints_and_only_changes() -> None:
    ready, terminating = {"conditions": {"ready": True}}, {"conditions": {"ready": False, "terminating": True}}
    watched = observe.Capacity()
    for endpoints in ([ready], [ready, terminating], [ready, ready], None):
        watched.take({"endpoints": endpoints})
    assert watched.seen == [1, 2, 0]
