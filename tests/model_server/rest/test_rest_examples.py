"""Classify and Regress over REST: the layout of the answers, the kinds of features, and every refusal's words."""

import json

import pytest

from tests.model_server.harness import Server

CLASSIFY, REGRESS = "/v1/models/examples:classify", "/v1/models/examples:regress"


def test_regress(server: Server) -> None:
    answer = server.post(REGRESS, {"examples": [{"x": 2.0}, {"x": [4.5]}, {}]})
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.body == b'{\n    "results": [3.0, 4.25, 2.0]\n}'
    flat = server.post("/v1/models/examples/versions/1:regress", {"signature_name": "flat", "examples": [{"x": 0.1}]})
    assert flat.json == {"results": [2.05]}


def test_classify(server: Server) -> None:
    answer = server.post(CLASSIFY, {"signature_name": "classify", "examples": [{"x": 2.0}, {"x": 4.0}]})
    assert answer.status == 200
    assert answer.body == (
        b'{\n    "results": [[["high", 3.0], ["low", -3.0]], [["high", 4.0], ["low", -4.0]]\n    ]\n}'
    )


def test_a_context_is_shared(server: Server) -> None:
    answer = server.post(REGRESS, {"context": {"bias": 10.0}, "examples": [{"x": 2.0}, {"bias": 1.5}]})
    assert answer.json == {"results": [13.0, 3.5]}


def test_kinds_of_features(server: Server) -> None:
    words = {"signature_name": "words", "examples": [{"words": ["a", {"b64": "/w=="}, "é\n"]}]}
    assert [pair[0] for pair in server.post(CLASSIFY, words).json["results"][0]] == ["a", "�", "é\n"]
    counts = {"signature_name": "counts", "examples": [{"counts": [1, True, False, -3]}, {"counts": 2**40}]}
    assert server.post(REGRESS, counts).json == {"results": [-1.0, 1.09951163e12]}
    infinite = server.post(REGRESS, '{"examples": [{"x": Infinity}, {"x": -Infinity}, {"x": NaN}, {"x": 1e300}]}')
    assert infinite.body == b'{\n    "results": [Infinity, -Infinity, NaN, Infinity]\n}'


def test_a_number_that_no_integer_holds_is_a_float(server: Server) -> None:
    answer = server.post(REGRESS, {"examples": [{"x": 2**64}]})
    assert answer.body == b'{\n    "results": [9.22337204e+18]\n}'


@pytest.mark.parametrize(
    ("features", "results"),
    [
        ('"x": 2.0, "x": [4.5]', [4.25]),
        ('"x": "text", "bias": 1.0, "x": 2.0', [4.0]),
        ('"x": 2.0, "x": []', [2.0]),
    ],
)
def test_of_equal_features_the_last_counts(server: Server, features: str, results: list[float]) -> None:
    """Unlike everywhere else, where the first of equal keys does."""
    assert server.post(REGRESS, f'{{"examples": [{{{features}}}]}}').json == {"results": results}


@pytest.mark.parametrize(
    ("features", "words"),
    [
        ('"x": null, "x": 2.0', "Feature: x has element with unexpected JSON type: Null"),
        ('"x": {"b64": "YQ==", "b64": "Yg=="}', "Feature: x has element with unexpected JSON type: Object"),
    ],
)
def test_what_stands_before_the_last_must_be_proper_too(server: Server, features: str, words: str) -> None:
    answer = server.post(REGRESS, f'{{"examples": [{{{features}}}]}}')
    assert (answer.status, answer.error) == (400, words)


REFUSALS = [
    ([1], "JSON Value: [1] Is not object"),
    ({}, "JSON Value: {} When method is classify, key 'examples' is expected and was not found"),
    ({"examples": 1}, "Expecting 'examples' value to be an list/array"),
    ({"examples": []}, "'examples' value is an empty array"),
    ({"examples": [1.0]}, "Example must be JSON object but got JSON Number"),
    ({"examples": [{}], "context": []}, "Example must be JSON object but got JSON Array"),
    ({"examples": [{"x": None}]}, "Feature: x has element with unexpected JSON type: Null"),
    ({"examples": [{"x": [[1.0]]}]}, "Feature: x has element with unexpected JSON type: Array"),
    ({"examples": [{"x": {"a": 1}}]}, "Feature: x has element with unexpected JSON type: Object"),
    ({"examples": [{"x": [1.0, 1]}]}, "Unexpected element type in feature: x expecting type: float"),
    ({"examples": [{"x": [1, "a"]}]}, "Unexpected element type in feature: x expecting type: int64"),
    ({"examples": [{"x": ["a", True]}]}, "Unexpected element type in feature: x expecting type: bytes"),
    ({"examples": [{"x": 2**63}]}, "Feature: x has uint64_t element. Only int64_t is supported."),
    ({"examples": [{"x": {"b64": "?"}}]}, "Unable to base64 decode"),
    ({"signature_name": 1, "examples": [{}]}, "not formatted correctly. 'signature_name' key must be a string value."),
    ({"signature_name": "none", "examples": [{}]}, "No signature was found with the name: none"),
    ({"examples": [{"x": 1}]}, "Data types don't match. Data type: int64 but expected type: float"),
]


@pytest.mark.parametrize(("document", "words"), REFUSALS)
def test_refusals(server: Server, document: object, words: str) -> None:
    answer = server.post(REGRESS, document)
    assert answer.status == 400
    assert words in answer.error


def test_bodies_that_are_no_json(server: Server) -> None:
    assert server.post(CLASSIFY, b"").error == "JSON Parse error: The document is empty"
    assert server.post(CLASSIFY, b'{"examples": [}').error.startswith("JSON Parse error: ")
    surrogate = server.post(REGRESS, b'{"signature_name": "\\ud800", "examples": [{}]}')
    assert surrogate.status == 400
    odd = server.post(REGRESS, b'{"signature_name": "\xff", "examples": [{"\xff": 1}]}')
    assert (odd.status, odd.error) == (400, "No signature was found with the name: �")


def test_models_that_are_not_there(server: Server) -> None:
    body = {"examples": [{"x": 1.0}]}
    missing = server.post("/v1/models/nobody:classify", body)
    assert (missing.status, missing.error) == (404, "Servable not found for request: Latest(nobody)")
    label = server.post("/v1/models/examples/labels/none:regress", body)
    assert (label.status, label.error) == (400, "Unrecognized servable version label: none")
    # The body is read first, as in the C++ server.
    assert server.post("/v1/models/nobody:classify", b"{").status == 400
    assert server.post("/v1/models/nobody:predict", json.dumps([])).status == 400


def test_an_answer_without_results_is_refused(server: Server) -> None:
    wide = server.post(CLASSIFY, {"signature_name": "wide", "examples": [{"x": 1.0}]})
    assert wide.status == 400
    assert wide.error.startswith("Expected classification signature outputs to contain at least one of")
