"""A runner that counts its runs, for the metrics that TensorFlow's own core keeps in the C++ server.

The C library has no way to read TensorFlow's registry, so the same facts are measured around `TF_SessionRun`.
"""

import time
from collections.abc import Sequence

from model_server.metrics import Metrics
from model_server.runtime.servable import Runner
from model_server.tensors.host_tensor import HostTensor


class MeasuredRunner:
    """A session that is counted; a `Runner`."""

    def __init__(self, session: Runner, metrics: Metrics) -> None:
        self._session, self._metrics = session, metrics

    def run(self, feeds: Sequence[tuple[str, HostTensor]], fetches: Sequence[str], timeout_ms: int) -> list[HostTensor]:
        """Run the graph; see `Runner.run`."""
        metrics = self._metrics
        metrics.session_runs.add()
        metrics.run_input_bytes.observe(sum(tensor.array.nbytes for _, tensor in feeds))
        started = time.monotonic()
        try:
            outputs = self._session.run(feeds, fetches, timeout_ms)
        finally:
            micros = (time.monotonic() - started) * 1e6
            metrics.graph_runs.add()
            metrics.graph_run_micros.add(amount=int(micros))
            metrics.graph_run_histogram.observe(micros)
        metrics.run_output_bytes.observe(sum(tensor.array.nbytes for tensor in outputs))
        return outputs

    def close(self) -> None:
        """Close the session."""
        self._session.close()
