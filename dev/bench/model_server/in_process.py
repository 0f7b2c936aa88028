"""The limit: the same model, called in process. `python -m dev.bench.model_server.in_process DIRECTORY SECONDS NAME=FILE…`.

Each FILE holds the model's input (`.npy`). TensorFlow's Python loads the SavedModel and calls its signature from 1, 2, 4 and 8
threads in turn, first as a function and then as a callable of a session, without any protocol around it; what
counts is the best. Prints one JSON object a line: first that the model is there and has answered, then one for each FILE.
"""

import json
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from examples.train import runtime

runtime.quiet()

import numpy as np  # noqa: E402  after quiet()
import tensorflow as tf  # noqa: E402

THREADS = (1, 2, 4, 8)


def pace(call: Callable[[], Any], threads: int, seconds: float) -> tuple[float, float]:
    """Return how often `call` returns in a second when `threads` threads do nothing else, and the CPU microseconds of one."""
    counts = [0] * threads
    end = time.monotonic() + seconds

    def work(position: int) -> None:
        while time.monotonic() < end:
            call()
            counts[position] += 1

    workers = [threading.Thread(target=work, args=(position,)) for position in range(threads)]
    started, used = time.monotonic(), time.process_time()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    calls = sum(counts)
    return calls / (time.monotonic() - started), (time.process_time() - used) / max(calls, 1) * 1e6


def as_function(folder: Path) -> Callable[[Any], Any]:
    """Return the model's default signature as TensorFlow 2 calls it."""
    loaded = tf.saved_model.load(str(folder))
    signature = loaded.signatures["serving_default"]
    name = next(iter(signature.structured_input_signature[1]))

    def call(values: Any, _keep: Any = loaded) -> Any:
        return [value.numpy() for value in signature(**{name: tf.constant(values)}).values()]

    return call


def as_session(folder: Path) -> Callable[[Any], Any]:
    """Return the model's default signature as a callable of a session, TensorFlow 1's way and the quicker one."""
    v1 = tf.compat.v1
    session = v1.Session(graph=tf.Graph())
    with session.graph.as_default():
        signature = v1.saved_model.load(session, ["serve"], str(folder)).signature_def["serving_default"]
        outputs = [info.name for info in signature.outputs.values()]
        run = session.make_callable(outputs, [next(iter(signature.inputs.values())).name])

    def call(values: Any) -> Any:
        return run(values)

    return call


def main(folder: Path, seconds: float, inputs: dict[str, Path]) -> None:
    """Measure every input and print what came out."""
    arrays = {name: np.load(file) for name, file in inputs.items()}
    ways = [as_function(folder), as_session(folder)]
    ways[0](next(iter(arrays.values())))
    print(json.dumps({"ready": True}), flush=True)
    for name, array in arrays.items():
        rates = {}
        for way, kind in zip(ways, ("function", "session"), strict=True):
            way(array)
            for threads in THREADS:
                rates[f"{kind} x {threads}"] = pace(partial(way, array), threads, seconds)
        best = max(rates, key=rates.__getitem__)
        alone = max(rate for key, (rate, _) in rates.items() if key.endswith(" x 1"))
        rate, cpu = rates[best]
        found = {"name": name, "calls_per_second": rate, "cpu_micros": cpu, "best": best, "one_caller": alone}
        print(json.dumps(found), flush=True)
    sys.stdin.read()  # until whoever measures has looked at the memory


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), {n: Path(f) for n, f in (a.split("=", 1) for a in sys.argv[3:])})
