"""Damaged files of every kind, and malformed calls that change the configuration: a typed error each time, and the server goes on."""

import contextlib
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf import text_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_server.config import from_flags, platform_file
from model_server.config.options import Options
from model_server.errors import ServingError
from model_server.protobuf import generated, textproto
from tests.model_server.harness import Server, array_of, serving
from tests.model_server.models.test_warmup import LOG, REQUESTS, X, framed
from tests.model_server.test_fuzz import TYPED
from tests.model_server.test_start import ONCE

FEW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
VERSIONS = 16


def damaged(data: bytes, chance: random.Random) -> bytes:
    """A part of `data`, or all of it with some bytes changed."""
    if chance.random() < 0.3:
        return data[: chance.randrange(len(data))]
    changed = bytearray(data)
    for _ in range(chance.choice((1, 3, 30))):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def listed(base: Path) -> str:
    return (
        f'model_config_list {{ config {{ name: "m" base_path: "{base}" model_platform: "tensorflow" '
        "model_version_policy { all {} } } }"
    )


def serve_all(directory: Path, base: Path) -> None:
    """Serve every version under `base`: version 1 is good, of the others each has to end in a state that makes sense."""
    (directory / "models.pbtxt").write_text(listed(base))
    with serving(directory / "log", f"--model_config_file={directory / 'models.pbtxt'}", *ONCE) as server:
        answer = server.predict("m", {"x": [[2.0]]}, version=1)
        assert array_of(answer.outputs["y"]).tolist() == [[3.0]]
        statuses = server.http("GET", "/v1/models/m").json["model_version_status"]
        assert len(statuses) == VERSIONS
        for status in statuses:
            assert (status["state"] == "AVAILABLE") == (status["status"]["error_code"] == "OK")
            assert status["status"]["error_code"] not in ("UNKNOWN", "UNAVAILABLE")
            call = server.prediction.Predict.future(
                generated.predict_pb2.PredictRequest(
                    model_spec={"name": "m", "version": {"value": int(status["version"])}}
                ),
                timeout=30,
            )
            assert call.code() in TYPED | {grpc.StatusCode.INTERNAL}
        assert any(status["state"] == "END" for status in statuses)
        assert "Traceback" not in server.output()


@pytest.mark.parametrize(
    "name", ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"]
)
def test_damaged_saved_models(models: Path, tmp_path: Path, name: str) -> None:
    chance = random.Random(name)
    good = models / "half" / "1"
    for version in range(1, VERSIONS + 1):
        shutil.copytree(good, tmp_path / "m" / str(version))
    for version in range(2, VERSIONS + 1):
        file = tmp_path / "m" / str(version) / name
        data = file.read_bytes()
        file.unlink()
        file.write_bytes(data[: len(data) // 2] if version == 2 else damaged(data, chance))
    serve_all(tmp_path, tmp_path / "m")


def test_damaged_warm_up_files(models: Path, tmp_path: Path) -> None:
    chance = random.Random(3)
    record = LOG(predict_log={"request": X}).SerializeToString()
    for version in range(1, VERSIONS + 1):
        file = tmp_path / "m" / str(version) / REQUESTS
        shutil.copytree(models / "half" / "1", tmp_path / "m" / str(version))
        file.parent.mkdir()
        if version % 2:
            # Well framed, but the message in it is damaged.
            content = framed(record if version == 1 else damaged(record, chance))
        else:
            content = damaged(framed(record) * 3, chance)
        file.write_bytes(content)
    serve_all(tmp_path, tmp_path / "m")


text = st.text(max_size=80) | st.lists(
    st.sampled_from(["model_config_list", "{", "}", "config", 'name: "a"', 'base_path: "/a"', ":", '"', "value", "-1", "9" * 30,
                     'model_platform: "tensorflow"', "version_labels", 'key: "l"', "max_batch_size", "allowed_batch_sizes: 4",
                     "platform_configs", "[type.googleapis.com/x]", 'type_url: "x"', "\x00", "prometheus_config", "#"])
).map(" ".join)  # fmt: skip


def read_models(path: str) -> object:
    return from_flags.models(Options(model_config_file=path))


READERS: list[Callable[[str], object]] = [
    read_models,
    from_flags.read_batching,
    lambda path: from_flags.session_config(Options(tensorflow_session_config_file=path)),
    lambda path: from_flags.monitoring_path(Options(monitoring_config_file=path)),
    lambda path: platform_file.loader_settings(Options(platform_config_file=path)),
    lambda path: platform_file.check_thread_pools(Options(thread_pool_factory_config_file=path)),
    lambda path: textproto.read(path, textproto.message_class("SSLConfig")()),
]


@pytest.mark.parametrize("read", READERS)
@FEW
@given(content=text.map(lambda value: value.encode("utf-8", "surrogatepass")) | st.binary(max_size=60))
def test_config_files_are_read_or_refused(tmp_path: Path, read: Callable[[str], object], content: bytes) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    with contextlib.suppress(ServingError):
        read(str(file))


numbers = st.integers(-(2**63), 2**63 - 1)


@FEW
@given(
    max_batch_size=numbers | st.none(),
    timeout=numbers | st.none(),
    enqueued=numbers | st.none(),
    threads=st.integers(-2, 8) | st.none(),
    allowed=st.lists(st.integers(-1, 9), max_size=4),
)
def test_batching_parameters_are_consistent_or_refused(
    tmp_path: Path, allowed: list[int], **given_values: int | None
) -> None:
    names = {
        "max_batch_size": "max_batch_size", "timeout": "batch_timeout_micros", "enqueued": "max_enqueued_batches",
        "threads": "num_batch_threads",
    }  # fmt: skip
    lines = [f"{names[key]} {{ value: {value} }}" for key, value in given_values.items() if value is not None]
    lines += [f"allowed_batch_sizes: {size}" for size in allowed]
    file = tmp_path / "batching"
    file.write_text("\n".join(lines))
    found = None
    with contextlib.suppress(ServingError):
        found = from_flags.read_batching(str(file))
    if found is None:
        return
    assert found.max_batch_size > 0
    assert found.num_batch_threads > 0
    assert not allowed or (list(found.allowed_batch_sizes) == sorted(allowed) and allowed[-1] == found.max_batch_size)


@pytest.fixture(scope="module")
def served(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("served")
    (directory / "models.pbtxt").write_text(listed(models / "half"))
    with serving(directory / "log", f"--model_config_file={directory / 'models.pbtxt'}", *ONCE) as server:
        yield server


@FEW
@given(position=st.integers(0, 200), byte=st.integers(0, 255), cut=st.booleans())
def test_malformed_reload_calls(served: Server, models: Path, position: int, byte: int, cut: bool) -> None:  # noqa: FBT001 - drawn
    request = generated.model_management_pb2.ReloadConfigRequest()
    text_format.Parse(listed(models / "half"), request.config)
    payload = bytearray(request.SerializeToString())
    at = position % len(payload)
    payload[at] = byte
    call = served.channel.unary_unary("/tensorflow.serving.ModelService/HandleReloadConfigRequest")
    with contextlib.suppress(grpc.RpcError):
        call(bytes(payload[:at] if cut else payload), timeout=30)
    # The good configuration is taken again at once, and serves.
    served.models.HandleReloadConfigRequest(request, timeout=60)
    assert array_of(served.predict("m", {"x": [[2.0]]}).outputs["y"]).tolist() == [[3.0]]
    assert "Traceback" not in served.output()
