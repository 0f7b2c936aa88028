"""Creates N resources on a fresh control plane: straight by a client, or through the operator."""

import os
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from dev.bench import workload
from dev.bench.api_load import Client, Tracker, together
from dev.bench.operator_process import Operator
from dev.bench.results import Creation, Run
from dev.bench.testbed import OPERATOR_USER, Bed

PATIENCE_SECONDS = 600
REST_SECONDS = 11
"""The operator may hold a status back for up to 10 s to merge it with the next: only after that is it at rest."""


async def by_client(bed: Bed, count: int, clients: int) -> Run:
    """Create the children of `count` resources with `clients` at a time, and wait until all are Available."""
    manifests = [workload.children(index) for index in range(count)]

    async def create(client: Client, children: list[workload.Object]) -> None:
        for child in children:
            await client.create(workload.COLLECTIONS[child["kind"]], child)

    async with (
        Client(bed.client_config) as client,
        Tracker(client, workload.DEPLOYMENTS, workload.available) as tracker,
    ):
        return await _timed(bed, tracker, [partial(create, client, each) for each in manifests], clients)


async def by_operator(bed: Bed, operator: Operator, count: int, clients: int) -> Creation:
    """Create `count` ModelDeployments with `clients` at a time, wait until all are Ready and the operator is at rest.

    The result has no baselines yet.
    """
    start_cpu, start_mib, mark = operator.cpu_seconds(), operator.memory_mib(), bed.audit.mark()
    async with Client(bed.client_config) as client:
        async with Tracker(client, workload.RESOURCES, workload.ready) as tracker:
            jobs = [partial(client.create, workload.RESOURCES, workload.resource(index)) for index in range(count)]
            run = await _timed(bed, tracker, jobs, clients)
        await operator.quiet(REST_SECONDS)
        return Creation(
            count=count,
            baselines=(),
            run=run,
            children=await owned(client, workload.name(0)),
            requests=bed.audit.tally(OPERATOR_USER, mark),
            cpu_seconds=operator.cpu_seconds() - start_cpu,
            start_cpu_seconds=start_cpu,
            peak_mib=operator.peak_mib(),
            start_mib=start_mib,
        )


async def owned(client: Client, name: str) -> int:
    """Return how many objects the ModelDeployment of this name owns."""
    uid = (await client.get(f"{workload.RESOURCES}/{name}"))["metadata"]["uid"]
    count = 0
    for path in workload.COLLECTIONS.values():
        listed = await client.get(path)
        owners = (each["metadata"].get("ownerReferences", []) for each in listed["items"])
        count += sum(any(owner["uid"] == uid for owner in each) for each in owners)
    return count


async def _timed(bed: Bed, tracker: Tracker, jobs: Sequence[Callable[[], Awaitable[object]]], clients: int) -> Run:
    load, cpu = os.getloadavg()[0], bed.cpu()
    started = time.monotonic()
    await together(jobs, clients)
    finished = await tracker.wait(len(jobs), PATIENCE_SECONDS)
    used = {name: seconds - cpu.get(name, 0) for name, seconds in bed.cpu().items()}
    return Run(seconds=finished - started, load=load, plane_cpu=used)
