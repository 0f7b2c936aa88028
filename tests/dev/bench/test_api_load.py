"""Many requests at once: bounded, in order, ended by the first error."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from dev.bench.api_load import Client, Object, RefusedError, Tracker, together
from dev.cluster.controlplane import ControlPlane


async def test_jobs_run_so_many_at_a_time() -> None:
    running, most = 0, 0
    done: list[int] = []

    def job(number: int) -> Callable[[], Awaitable[None]]:
        async def run() -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1
            done.append(number)

        return run

    await together([job(number) for number in range(10)], 3)
    assert most == 3
    assert sorted(done) == list(range(10))


async def test_the_first_error_ends_all() -> None:
    done: list[int] = []

    async def good() -> None:
        done.append(1)
        await asyncio.sleep(0)

    async def bad() -> None:
        raise LookupError("broken")

    with pytest.raises(ExceptionGroup) as caught:
        await together([good, bad, *[good] * 50], 2)
    assert caught.group_contains(LookupError, match="broken")
    assert len(done) < 50


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with ControlPlane() as started:
        yield started


def config_map(name: str, **data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


MAPS = "/api/v1/namespaces/default/configmaps"


async def test_a_tracker_notes_when_objects_meet_a_condition(plane: ControlPlane) -> None:
    def met(found: Object) -> bool:
        return bool(found.get("data", {}).get("ready") == "yes")

    async with Client(plane.kubeconfig()) as client:
        await client.create(MAPS, config_map("before", ready="yes"))
        async with Tracker(client, MAPS, met) as tracker:
            await client.create(MAPS, config_map("one", ready="yes"))
            await client.create(MAPS, config_map("two", ready="no"))
            first = await tracker.wait(1, 60)
            with pytest.raises(TimeoutError):
                await tracker.wait(2, 0.2)
            await client.patch(f"{MAPS}/two", {"data": {"ready": "yes"}})
            assert await tracker.wait(2, 60) > first
            assert set(tracker.times) == {"one", "two"}


async def test_a_refusal_carries_status_and_words(plane: ControlPlane) -> None:
    async with Client(plane.kubeconfig("nobody")) as client:
        with pytest.raises(RefusedError, match="cannot list resource") as caught:
            await client.get(MAPS)
    assert caught.value.status == 403


async def test_a_watch_that_is_refused_is_an_error(plane: ControlPlane) -> None:
    async with Client(plane.kubeconfig()) as client:
        with pytest.raises(RefusedError, match="watch /api/v1/nothings"):
            _ = [event async for event in client.watch("/api/v1/nothings", "0")]
