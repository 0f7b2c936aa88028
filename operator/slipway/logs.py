"""Logs: one line per record, as JSON or text, with the key of the ModelDeployment that it is about."""

import json
import logging
import sys
import time
from typing import Any

_QUIET = {"kopf": logging.WARNING, "asyncio": logging.WARNING, "aiohttp.access": logging.WARNING}


def about(key: object) -> dict[str, str]:
    """Return the `extra` of a record that is about the ModelDeployment `key`."""
    return {"key": str(key)}


def _key(record: logging.LogRecord) -> str:
    key = getattr(record, "key", "")
    if not key and isinstance(reference := getattr(record, "k8s_ref", None), dict):  # Kopf's form
        key = f"{reference.get('namespace', '')}/{reference.get('name', '')}"
    return str(key)


def _time(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"


class TextFormatter(logging.Formatter):
    """`TIME LEVEL LOGGER [KEY] MESSAGE`, a traceback below it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text; line breaks in the message are escaped, so that one record is one line."""
        key = _key(record)
        message = record.getMessage().replace("\n", "\\n")
        line = f"{_time(record)} {record.levelname:<7} {record.name} {f'[{key}] ' if key else ''}{message}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, key, message, error."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        fields: dict[str, Any] = {"time": _time(record), "level": record.levelname.lower(), "logger": record.name}
        if key := _key(record):
            fields["key"] = key
        fields["message"] = record.getMessage()
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


def _is_news(record: logging.LogRecord) -> bool:
    """Return False for what Kopf repeats about a namespace that it may not watch: the scope reports it, once."""
    return not (record.name.startswith("kopf") and "APIForbiddenError" in record.getMessage())


def setup(form: str, level: str) -> None:
    """Send all records of `level` and above to standard error, as `json` or `text`; of libraries only warnings."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    handler.addFilter(_is_news)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name, quiet in _QUIET.items():
        logging.getLogger(name).setLevel(max(quiet, root.level))
