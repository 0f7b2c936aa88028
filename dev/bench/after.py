"""What the operator does with resources that exist: nothing while idle and after a restart, little on a change."""

import asyncio
import time
from functools import partial

from dev.bench import workload
from dev.bench.api_load import Client, Tracker, together
from dev.bench.create import PATIENCE_SECONDS, REST_SECONDS
from dev.bench.operator_process import Invocation, Operator
from dev.bench.results import Change, Idle, Restart, Returns
from dev.bench.testbed import OPERATOR_USER, Bed
from slipway.domain.names import NAME_LABEL

LEASE = "slipway-operator"
RETURN_PATIENCE_SECONDS = 30


async def started(bed: Bed, invocation: Invocation) -> Operator:
    """Start an operator and return it when it holds the Lease and has nothing left to do."""
    operator = Operator(invocation)
    try:
        async with asyncio.timeout(120):
            while not bed.lease_holder(LEASE):
                await asyncio.sleep(0.1)
                operator.cpu_seconds()  # an operator that ended holds no Lease, ever
        await operator.quiet(2)
    except BaseException:
        operator.stop()
        raise
    return operator


async def idle(bed: Bed, operator: Operator, seconds: float) -> Idle:
    """Count what the operator requests while nothing happens for `seconds`."""
    mark, cpu = bed.audit.mark(), operator.cpu_seconds()
    await asyncio.sleep(seconds)
    return Idle(seconds, bed.audit.tally(OPERATOR_USER, mark), operator.cpu_seconds() - cpu)


async def restart(bed: Bed, operator: Operator, invocation: Invocation) -> tuple[Operator, Restart]:
    """Stop the operator and start another one; count its requests until it is at rest."""
    operator.stop()
    mark, began = bed.audit.mark(), time.monotonic()
    successor = await started(bed, invocation)
    seconds = time.monotonic() - began
    await successor.quiet(REST_SECONDS)
    return successor, Restart(
        seconds=seconds,
        requests=bed.audit.tally(OPERATOR_USER, mark),
        cpu_seconds=successor.cpu_seconds(),
        peak_mib=successor.peak_mib(),
    )


async def change(bed: Bed, operator: Operator, count: int, clients: int) -> Change:
    """Give `count` resources another pod template and wait until all are Ready again."""
    mark = bed.audit.mark()

    def changed(found: workload.Object) -> bool:
        return bool(found["metadata"]["generation"] > 1 and workload.ready(found))

    async with Client(bed.client_config) as client:
        async with Tracker(client, workload.RESOURCES, changed) as tracker:
            began = time.monotonic()
            paths = [f"{workload.RESOURCES}/{workload.name(index)}" for index in range(count)]
            await together([partial(client.patch, path, workload.template_change()) for path in paths], clients)
            finished = await tracker.wait(count, PATIENCE_SECONDS)
        await operator.quiet(REST_SECONDS)
    return Change(count, finished - began, bed.audit.tally(OPERATOR_USER, mark))


async def returns(bed: Bed, operator: Operator, count: int, each: int) -> Returns:
    """Delete children, one after another and `each` of every kind, and time how long they stay away."""
    seconds: dict[str, tuple[float, ...]] = {}
    async with Client(bed.client_config) as client:
        for kind, path in workload.COLLECTIONS.items():
            names = await _children(client, path)
            chosen = names[-min(each, len(names)) :]
            times = []
            for name in chosen:
                times.append(await _back(client, path, name))
                await operator.quiet(0.5)
            if times:
                seconds[kind] = tuple(times)
    if not seconds:
        raise RuntimeError(f"none of {count} resources has a child")
    return Returns(seconds)


async def _children(client: Client, path: str) -> list[str]:
    """Return the names of the children in a collection; of records, which are history once another follows, the newest."""
    listed = await client.get(f"{path}?labelSelector=app.kubernetes.io/managed-by%3Dslipway")
    newest: dict[str, tuple[int, str]] = {}
    others = []
    for found in listed["items"]:
        metadata = found["metadata"]
        if "revision" in found:
            owner = metadata["labels"][NAME_LABEL]
            newest[owner] = max(newest.get(owner, (0, "")), (found["revision"], metadata["name"]))
        else:
            others.append(metadata["name"])
    return others or [name for _, name in sorted(newest.values())]


async def _back(client: Client, path: str, name: str) -> float:
    """Delete one object and return the seconds until another one of its name is there."""
    old = (await client.get(f"{path}/{name}"))["metadata"]["uid"]

    def successor(found: workload.Object) -> bool:
        return bool(found["metadata"]["name"] == name and found["metadata"]["uid"] != old)

    async with Tracker(client, path, successor) as tracker:
        began = time.monotonic()
        await client.delete(f"{path}/{name}")
        try:
            return await tracker.wait(1, RETURN_PATIENCE_SECONDS) - began
        except TimeoutError:
            raise TimeoutError(f"{path}/{name} was deleted and is not back after {RETURN_PATIENCE_SECONDS} s") from None
