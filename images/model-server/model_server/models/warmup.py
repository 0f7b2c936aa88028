"""Warm-up: a model's recorded requests are replayed before it becomes available.

`<version>/assets.extra/tf_serving_warmup_requests` is a TFRecord file of PredictionLog messages. A bad record or a failing
request fails the load, as in the C++ server: a model that cannot answer its own examples is not fit to serve.
"""

import logging
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from model_server.errors import Code, ServingError, invalid_argument
from model_server.inference.classify_regress import Inference
from model_server.inference.predict import Predictor
from model_server.metrics import Metrics
from model_server.protobuf.generated import prediction_log_pb2
from model_server.runtime.servable import Servable

REQUESTS_FILE = "assets.extra/tf_serving_warmup_requests"
MAX_RECORDS = 1000
_MAX_RECORD_BYTES = 2**31
_HEADER = struct.Struct("<QI")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Replayer:
    """Answers recorded requests of every kind."""

    predictor: Predictor
    inference: Inference

    def answer(self, servable: Servable, log: Any) -> None:
        """Answer the request of a PredictionLog; ServingError if it fails, or if its kind cannot be replayed."""
        kind = log.WhichOneof("log_type")
        if kind == "predict_log":
            self.predictor.predict(servable, log.predict_log.request, 0)
        elif kind == "classify_log":
            self.inference.classify(servable, log.classify_log.request, 0)
        elif kind == "regress_log":
            self.inference.regress(servable, log.regress_log.request, 0)
        elif kind == "multi_inference_log":
            self.inference.multi_inference(servable, log.multi_inference_log.request, 0)
        elif kind is not None:
            number = log.DESCRIPTOR.fields_by_name[kind].number
            raise ServingError(Code.UNIMPLEMENTED, f"Unsupported log_type for warmup: {number}")


def replay(path: str, servable: Servable, replayer: Replayer, iterations: int, metrics: Metrics) -> int:
    """Replay the records of the version at `path`, each `iterations` times (at least once); how many records there were."""
    file = Path(path) / REQUESTS_FILE
    if not file.exists():
        _log.info("No warmup data file found at %s", file)
        return 0
    started = time.monotonic()
    records = 0
    status = "OK"
    try:
        for record in read_records(file):
            records += 1
            if records > MAX_RECORDS:
                raise invalid_argument(f"Number of warmup records exceeds the maximum ({MAX_RECORDS}) at {file}")
            _replay_record(record, file, servable, replayer, max(iterations, 1))
    except ServingError as error:
        status = str(error)
        raise
    finally:
        metrics.warmup_latency.observe((time.monotonic() - started) * 1e6, path, status)
        metrics.warmup_records.add(path, status, amount=records)
    _log.info("Finished reading warmup data for model at %s. Number of warmup records read: %d.", file, records)
    return records


def _replay_record(record: bytes, file: Path, servable: Servable, replayer: Replayer, iterations: int) -> None:
    log = prediction_log_pb2.PredictionLog()
    try:
        log.ParseFromString(record)
    except Exception as error:
        raise invalid_argument(f"Failed to parse warmup record: {record[:64]!r} from {file}") from error
    for _ in range(iterations):
        replayer.answer(servable, log)


def read_records(file: Path) -> Iterator[bytes]:
    """Records of a TFRecord file: length, checksum of the length, data, checksum of the data."""
    with file.open("rb") as stream:
        position = 0
        while header := stream.read(_HEADER.size):
            length = _length(header, position)
            data = _read(stream, length, position)
            (expected,) = struct.unpack("<I", _read(stream, 4, position))
            if masked_crc(data) != expected:
                raise _data_loss(f"corrupted record at {position}")
            yield data
            position = stream.tell()


def _length(header: bytes, position: int) -> int:
    if len(header) < _HEADER.size:
        raise _data_loss(f"truncated record at {position}")
    length, expected = _HEADER.unpack(header)
    if masked_crc(header[:8]) != expected or length > _MAX_RECORD_BYTES:
        raise _data_loss(f"corrupted record at {position}")
    return int(length)


def _read(stream: BinaryIO, size: int, position: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise _data_loss(f"truncated record at {position}")
    return data


def _data_loss(message: str) -> ServingError:
    return ServingError(Code.DATA_LOSS, f"{message}. Please verify your warmup data is in TFRecord format.")


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_CRC = _crc_table()


def masked_crc(data: bytes) -> int:
    """TFRecord's checksum: CRC-32C, rotated and shifted so that a checksum of checksums keeps its strength."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
