"""Entry point: `python -m model_server --port=8500 …`.

Three things must happen before anything else is imported, because imports start threads and read the environment: the signals
that end the server are blocked (a thread that does not block them would die of them, and the process with it); NumPy's linear
algebra, which is never used, is told to have no threads; and TensorFlow is told not to use oneDNN, unless the environment says
otherwise: a convolution there ends the process where its input has not the dimensions it needs, so that any client could.
"""

import os
import signal
import sys


def run() -> None:
    """Run the server and end the process."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    from model_server.lifecycle import main  # noqa: PLC0415 - see above

    main(sys.argv)


if __name__ == "__main__":
    run()
