"""TFLite: shapes at the edge of what its interpreter takes; each is answered or refused in words, and the server goes on."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from tests.model_server.harness import Server, array_of, config_file, proto, serving
from tests.model_server.test_start import ONCE


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("lite_shapes")
    arguments = (config_file(directory, models, ("lite", "lite_text")), "--prefer_tflite_model=true", *ONCE)
    with serving(directory / "log", *arguments) as running:
        yield running


@pytest.fixture(autouse=True)
def still_serving(server: Server) -> Iterator[None]:
    yield
    assert array_of(server.predict("lite", {"x": [[2.0]]}).outputs["y"]).tolist() == [[3.0]]
    assert "Traceback" not in server.output()


def test_a_scalar_is_a_tensor_of_rank_0(server: Server) -> None:
    answer = array_of(server.predict("lite", {"x": np.float32(2.0)}).outputs["y"])
    assert (answer.shape, answer.tolist()) == ((), 3.0)


def test_a_lone_string_is_refused(server: Server) -> None:
    """TFLite's wrapper would answer with bytes of the server's memory."""
    with pytest.raises(grpc.RpcError) as caught:
        server.predict("lite_text", {"s": np.array(b"text", object)})
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "rank 1 or more" in caught.value.details()


@pytest.mark.parametrize("shape", [(2**40, 0), (0, 2**31)])
def test_a_dimension_beyond_32_bits_is_refused(server: Server, shape: tuple[int, ...]) -> None:
    message = proto(np.zeros(1, np.float32))
    del message.float_val[:], message.tensor_shape.dim[:]
    for size in shape:
        message.tensor_shape.dim.add(size=size)
    with pytest.raises(grpc.RpcError) as caught:
        server.predict("lite", {"x": message})
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "beyond 32 bits" in caught.value.details()
