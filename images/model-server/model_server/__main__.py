"""Entry point: `python -m model_server --port=8500 …`.

Two things must happen before anything else is imported, because imports start threads: the signals that end the server are
blocked (a thread that does not block them would die of them, and the process with it), and NumPy's linear algebra, which is
never used, is told to have no threads.
"""

import os
import signal
import sys


def run() -> None:
    """Run the server and end the process."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from model_server.lifecycle import main  # noqa: PLC0415 - see above

    main(sys.argv)


if __name__ == "__main__":
    run()
