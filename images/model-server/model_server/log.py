"""Log lines on standard error in TensorFlow's form: `2026-11-22 07:00:00.000000: I model_server/models/manager.py:10] text`."""

import logging
import os
import sys
import time

_LETTERS = {logging.DEBUG: "I", logging.INFO: "I", logging.WARNING: "W", logging.ERROR: "E", logging.CRITICAL: "F"}
_LEVELS = {"0": logging.INFO, "1": logging.WARNING, "2": logging.ERROR, "3": logging.CRITICAL}


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        micros = int(record.created % 1 * 1e6)
        letter = _LETTERS.get(record.levelno, "I")
        path = record.name.replace(".", "/")
        path = record.name.replace(".", "/")
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return f"{moment}.{micros:06d}: {letter} {path}.py:{record.lineno}] {text}"


def set_up_logging() -> None:
    """Log to standard error, from the level in TF_CPP_MIN_LOG_LEVEL (0, the default: all)."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # A client that sends garbage gets its status; its garbage must not fill the log with stack traces.
    logging.getLogger("grpc._common").setLevel(logging.CRITICAL)
    root.setLevel(_LEVELS.get(os.environ.get("TF_CPP_MIN_LOG_LEVEL", "0"), logging.INFO))
