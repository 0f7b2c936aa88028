"""Models as TF1, TF2 and Keras 3 export them."""

from pathlib import Path

import numpy as np

from tests.model_server.harness import Server, array_of


def test_keras_3(server: Server, models: Path) -> None:
    expected = np.load(models / "digits_expected.npy")
    image = np.ones((2, 8, 8, 1), np.float32)
    ((_, value),) = server.predict("digits", {"image": image}).outputs.items()
    np.testing.assert_allclose(array_of(value), expected, rtol=1e-5)
    rest = server.post("/v1/models/digits:predict", {"instances": image.tolist()})
    np.testing.assert_allclose(rest.json["predictions"], expected, rtol=1e-5)


def test_a_tf1_graph_with_an_asset_and_a_table(server: Server) -> None:
    words = np.array([b"two", b"zero", b"many"], dtype=object)
    assert array_of(server.predict("vocabulary", {"word": words}).outputs["number"]).tolist() == [2, 0, -1]
    rest = server.post("/v1/models/vocabulary:predict", {"inputs": ["one", {"b64": "dHdv"}]})
    assert rest.json == {"outputs": [1, 2]}


def test_a_tf2_module_with_many_signatures(server: Server) -> None:
    pair = {"a": np.array([1.0, 2.0], np.float32), "b": np.array([3, 4], np.int64)}
    outputs = server.predict("kitchen", pair, "pair").outputs
    assert {name: array_of(value).tolist() for name, value in outputs.items()} == {
        "sum": [4.0, 6.0],
        "product": [3.0, 8.0],
    }
