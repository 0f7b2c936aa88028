"""The gate's JSON, the golden set's two formats, and how both are checked against a model's signatures."""

import base64
import io
import json
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway_tools.golden_check import read_gate
from slipway_tools.prober import golden_set, jsonlines, npz, resolved_gate
from slipway_tools.prober.evaluation_plan import SignaturePlan, build_plans
from slipway_tools.prober.gate_errors import GateInvalidError
from slipway_tools.prober.serving_client import Signature, TensorSpec
from tests.tools.probers import golden_npz, resolved


def parsed(**fields: Any) -> resolved_gate.Gate:
    """The gate that a prober gets of one in a resource."""
    return read_gate(json.dumps(fields))


def test_a_whole_gate() -> None:
    found = parsed(
        golden={"configMap": "g"}, signature="s", output="o", metrics={"accuracy": ">=0.95", "loss": "<= 1e-3"},
        tolerance={"absolute": 1e-6}, checks=[{"output": "p", "metrics": {"p99LatencyMillis": "<=50"}}],
        topK=3, batchSize=8, timeout="1m30s", interval="10m",
    )  # fmt: skip
    first, second = found.checks
    assert (first.signature, first.output, second.signature, second.output) == ("s", "o", "serving_default", "p")
    assert [(bound.metric, bound.limit) for bound in first.bounds] == [("accuracy", 0.95), ("loss", 0.001)]
    assert [bound.text for bound in first.bounds] == [">=0.95", "<=0.001"]
    assert (found.absolute_tolerance, found.relative_tolerance, found.top_k, found.batch_size) == (1e-6, 1e-3, 3, 8)
    assert (found.timeout_seconds, found.interval_seconds) == (90, 600)


def test_defaults() -> None:
    found = parsed()
    assert (found.signature, found.checks) == ("serving_default", ())
    assert (found.timeout_seconds, found.interval_seconds) == (30, None)
    assert (found.absolute_tolerance, found.relative_tolerance, found.top_k, found.batch_size) == (1e-5, 1e-3, 5, 1)


def test_a_resolved_gate_is_read_without_the_operator() -> None:
    fields = {"metrics": {"accuracy": ">=0.95"}, "interval": "10m"}
    assert read_gate(json.dumps(resolved(fields))) == parsed(**fields)


def test_bounds_are_kept_or_broken() -> None:
    (check,) = parsed(metrics={"accuracy": ">=0.95", "maxAbsoluteError": "<=0"}).checks
    share, error = check.bounds
    assert [share.holds(value) for value in (1, 0.95, 0.9499, float("nan"), float("inf"))] == [True, True, *[False] * 3]
    assert [error.holds(value) for value in (0, 1e-9, float("nan"), float("-inf"))] == [True, *[False] * 3]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"metrics": {"accurracy": ">=0.95"}}, "unknown metric: use accuracy, topKAccuracy"),
        ({"metrics": {"accuracy": "<=0.95"}}, "accuracy, topKAccuracy, matches need a lower bound"),
        ({"metrics": {"loss": ">=0.95"}}, "all other metrics an upper bound"),
        ({"metrics": {"accuracy": ">=nan"}}, "is not a bound: write it like '>=0.95'"),
        ({"metrics": {"loss": "<=1e999"}}, "is not a bound: write it like '>=0.95' or '<=50'"),
        ({"metrics": {"loss": "<=-1"}}, "is not a bound: write it like '>=0.95' or '<=50'"),
        ({"metrics": {"p50LatencyMillis": "<=0"}}, "is never reached"),
        ({"metrics": {"accuracy": ">=1.1"}}, "always or never"),
        ({"metrics": {"accuracy": ">=0"}}, "always or never"),
        ({"metrics": {"accuracy": 0.95}}, "metrics.accuracy: Input should be a valid string"),
        ({"metrics": {"accuracy": "0.95"}}, "is not a bound: write it like '>=0.95'"),
        ({"metrics": ["accuracy"]}, "spec.rollout.gate.metrics: Input should be an object"),
        ({"checks": {}}, "checks: Input should be a valid array"),
        ({"checks": [{"output": "o"}]}, "checks.0.metrics: Field required"),
        ({"checks": [{"outptu": "o", "metrics": {"loss": "<=1"}}]}, "checks.0.outptu: Extra inputs are not permitted"),
        ({"checks": ["x"]}, "checks.0: Input should be an object"),
        ({"tolerance": {"absolute": "x"}}, "tolerance.absolute: Input should be a valid number"),
        ({"tolerance": {"relative": -1}}, "tolerance.relative: Input should be greater than or equal to 0"),
        ({"tolerance": {"rtol": 1}}, "tolerance.rtol: Extra inputs are not permitted"),
        ({"topK": 0}, "topK: Input should be greater than or equal to 2"),
        ({"batchSize": 1.5}, "batchSize: Input should be a valid integer"),
        ({"batchSize": True}, "batchSize: Input should be a valid integer"),
        ({"timeout": "30"}, "timeout: '30' is not a duration: write it like 90s"),
        ({"timeout": "0s"}, "timeout must be between 1s and 10m"),
        ({"interval": ""}, "interval: String should have at least 2 characters"),
        ({"every": "10m"}, "every was renamed: use spec.rollout.gate.interval"),
        ({"signature": 1}, "signature: Input should be a valid string"),
        ({"output": ""}, "output: String should have at least 1 character"),
        ({"speed": 1}, "spec.rollout.gate.speed: Extra inputs are not permitted"),
    ],
)
def test_a_gate_with_a_mistake(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(GateInvalidError) as caught:
        parsed(**fields)
    assert words in str(caught.value)
    assert str(caught.value).startswith("spec.rollout.gate")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, '"text"'])
def test_what_is_no_gate(text: str) -> None:
    for read_text in (read_gate, resolved_gate.parse):
        with pytest.raises(GateInvalidError, match=r"spec\.rollout\.gate"):
            read_text(text)


@given(st.text(max_size=60))
def test_no_text_makes_it_stumble(text: str) -> None:
    for candidate in (text, json.dumps({"metrics": {"accuracy": text}, "timeout": text})):
        for read_text in (read_gate, resolved_gate.parse):
            with pytest.raises(GateInvalidError):
                read_text(candidate)


def changed(path: str, value: Any) -> str:
    """A resolved gate with another value at `path`; without the key where the value is `...`."""
    gate = resolved({"output": "o", "metrics": {"accuracy": ">=0.95"}})
    *parents, key = (int(part) if part.isdecimal() else part for part in path.split("."))
    at: Any = gate
    for parent in parents:
        at = at[parent]
    if value is ...:
        del at[key]
    else:
        at[key] = value
    return json.dumps(gate)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("topK", ..., "the resolved gate has no key 'topK'"),
        ("intervalSeconds", ..., "the resolved gate has no key 'intervalSeconds'"),
        ("checks.0.output", ..., "checks[0] has no key 'output'"),
        ("checks.0.bounds.0.limit", ..., "checks[0].bounds[0] has no key 'limit'"),
        ("speed", 1, "the resolved gate has the unknown key 'speed'"),
        ("checks.0.speed", 1, "checks[0] has the unknown key 'speed'"),
        ("checks.0.bounds.0.speed", 1, "checks[0].bounds[0] has the unknown key 'speed'"),
        ("signature", "", "'signature' of the resolved gate is '', not a name"),
        ("signature", 1, "'signature' of the resolved gate is 1, not a name"),
        ("batchSize", 0, "'batchSize' of the resolved gate is 0, not a whole number of at least 1"),
        ("batchSize", 1.5, "'batchSize' of the resolved gate is 1.5, not a whole number"),
        ("topK", True, "'topK' of the resolved gate is True, not a whole number"),
        ("timeoutSeconds", "30s", "'timeoutSeconds' of the resolved gate is '30s', not a number"),
        ("timeoutSeconds", None, "'timeoutSeconds' of the resolved gate is None, not a number"),
        ("absoluteTolerance", float("nan"), "is nan, not a number"),
        ("relativeTolerance", -1, "is -1, not a number of at least 0"),
        ("relativeTolerance", True, "is True, not a number"),
        ("checks", {}, "'checks' of the resolved gate is {}, not a list"),
        ("checks.0", "x", "checks[0] is 'x', not an object"),
        ("checks.0.bounds", [], "checks[0].bounds is empty"),
        ("checks.0.bounds.0.operator", "==", "checks[0].bounds[0].operator is '==', not >= or <="),
        ("checks.0.bounds.0.metric", "f1", "spec.rollout.gate.metrics.f1: this prober has no such metric"),
    ],
)
def test_a_resolved_gate_of_another_release(path: str, value: Any, words: str) -> None:
    with pytest.raises(GateInvalidError) as caught:
        resolved_gate.parse(changed(path, value))
    assert words in str(caught.value)
    assert str(caught.value).startswith("spec.rollout.gate")
    assert str(caught.value).endswith("; run the operator and the tools image of one release")


# The golden set ------------------------------------------------------------------------------------------------------


def read(path: Path) -> golden_set.GoldenSet:
    return golden_set.read(path, "serving_default")


def refusal(path: Path, content: bytes | None = None) -> str:
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(GateInvalidError) as caught:
        read(path)
    assert str(caught.value).startswith("spec.rollout.gate.golden: ")
    return str(caught.value)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "golden"


def test_an_npz(tmp_path: Path) -> None:
    arrays = {
        "inputs/x": np.ones((3, 2), np.float32), "outputs/y": np.asfortranarray(np.arange(6.0).reshape(3, 2)),
        "labels": np.array([0, 1, 2]), "labels/y": np.array([[2], [1], [0]], np.uint8), "text:inputs/s": np.array(["é", "b"]),
        "text:outputs/t": np.array([b"a", b"b"]), "other:inputs/z": np.array([1, 2], ">i4"),
    }  # fmt: skip
    found = read(golden_npz(tmp_path / "g.npz", **arrays))
    default = found["serving_default"]
    assert (default.count, default.untyped) == (3, False)
    assert default.outputs["y"].tolist() == [[0, 1], [2, 3], [4, 5]]
    assert {name: labels.tolist() for name, labels in default.labels.items()} == {None: [0, 1, 2], "y": [2, 1, 0]}
    assert found["text"].inputs["s"].tolist() == ["é".encode(), b"b"]
    assert found["other"].inputs["z"].dtype == np.dtype("<i4")


def test_json_lines(file: Path) -> None:
    lines = [
        {"inputs": {"x": [1, 2.5]}, "outputs": {"y": 1}, "label": 2},
        {"inputs": {"x": [1, 2]}, "outputs": {"y": 1.5}, "label": 0},
        {
            "signature": "text",
            "inputs": {"s": ["é", {"b64": base64.b64encode(b"\xff\0").decode()}]},
            "labels": {"a": 1},
        },
    ]
    file.write_text("\n\n".join(json.dumps(line) for line in lines))
    found = read(file)
    assert found["serving_default"].inputs["x"].tolist() == [[1, 2.5], [1, 2]]
    assert found["serving_default"].outputs["y"].tolist() == [1, 1.5]
    assert found["serving_default"].labels[None].tolist() == [2, 0]
    assert found["text"].inputs["s"].tolist() == [["é".encode(), b"\xff\0"]]
    assert found["text"].labels["a"].tolist() == [1]
    assert found["text"].untyped


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": [1.0]}, "unknown array 'x'"),
        ({"input/x": [1.0]}, "unknown array 'input/x'"),
        ({"inputs": [1.0]}, "unknown array 'inputs'"),
        ({"inputs/": [1.0]}, "unknown array 'inputs/'"),
        ({":inputs/x": [1.0]}, "unknown array ':inputs/x'"),
        ({"labels": [1]}, "signature 'serving_default' has no inputs"),
        ({"inputs/x": 1.0}, "inputs/x is a single value"),
        ({"inputs/x": np.zeros((0, 3))}, "has no examples"),
        ({"inputs/x": [1.0, 2.0], "labels": [1]}, "inputs/x has 2, labels has 1"),
        ({"inputs/x": [1.0], "outputs/y": [np.nan]}, "outputs/y has a value that is not finite, first in example 0"),
        ({"inputs/x": [1.0], "labels": [0.5]}, "labels is float64 with shape [1]"),
        ({"inputs/x": [1.0], "labels": [[0, 1]]}, "with shape [1, 2]"),
        ({"inputs/x": [1.0, 1.0], "labels": [0, -1]}, "labels is -1 in example 1"),
        ({"inputs/x": [1.0], "labels": np.array([2**63], np.uint64)}, "labels is 9223372036854775808"),
        ({"inputs/x": [1.0], "serving_default:inputs/x": [1.0]}, "is there twice"),
        ({"inputs/x": np.array(["2026-01-01"], "M8[D]")}, "has dtype datetime64[D]"),
        ({"inputs/x": np.zeros(1, [("a", "f4")])}, "has dtype"),
        ({}, "has no arrays"),
    ],
)
def test_an_npz_with_a_mistake(tmp_path: Path, arrays: dict[str, Any], words: str) -> None:
    assert words in refusal(golden_npz(tmp_path / "g.npz", **arrays))


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "unpickled",))

    path = tmp_path / "g.npz"
    np.savez(path, allow_pickle=True, **{"inputs/x": np.array([Trap()], dtype=object)})
    assert "Python objects, which are never loaded" in refusal(path)
    assert not (tmp_path / "unpickled").exists()


def npy(shape: str, dtype: str = "<f4", content: bytes = b"", version: int = 1) -> bytes:
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}".encode()
    return (
        b"\x93NUMPY" + bytes([version, 0]) + len(header).to_bytes(2 if version == 1 else 4, "little") + header + content
    )


def zipped(*entries: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in entries:
            # With a date of its own: the bytes are names of tests, which every worker has to give alike.
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (zipped(("inputs/x.npy", npy("(1000000000000,)"))), "is not as long as its shape"),
        (zipped(("inputs/x.npy", npy("(4,)", content=b"\0" * 15))), "is not as long as its shape"),
        (zipped(("inputs/x.npy", npy("(-1,)", content=b"\0" * 4))), "is not as long as its shape"),
        (zipped(("inputs/x.npy", npy("(1,)", dtype="|O", content=b"\0" * 8))), "Python objects"),
        (zipped(("inputs/x.npy", npy("(" * 2000))), "is not an npy array"),
        (zipped(("inputs/x.npy", npy("__import__('os')"))), "is not an npy array"),
        (zipped(("inputs/x.npy", b"no npy")), "is not an npy array"),
        (zipped(("inputs/x.npy", npy("(1,)", version=3))), "npy version (3, 0)"),
        (zipped(("inputs/x.txt", b"1")), "is no plain npy array"),
        (zipped(("inputs/x.npy", npy("(1,)", content=b"\0" * 4)), method=zipfile.ZIP_LZMA), "is no plain npy array"),
        (zipped(*[(f"inputs/{n}.npy", b"") for n in range(300)]), "has 300 entries"),
        (zipped(("inputs/x.npy", npy(f"({10**30}, 0)"))), "is not as long as its shape"),
        (zipped(("inputs/x.npy", npy(f"({'0, ' * 70})"))), "is not as long as its shape"),
        (zipped(("inputs/x.npy", npy(f"({2**31}, {2**31}, {2**31}, 0)"))), "is not as long as its shape"),
        (zipped(("inputs/x.npy", npy("(1000000000000,)", dtype="|S0"))), "use numbers, booleans or text"),
        (zipped(("inputs/x.npy", npy("(1000000000000,)", dtype="<U0"))), "use numbers, booleans or text"),
        (zipped(("inputs/x.npy", npy("(1,)").replace(b"'<f4'", b"()   "))), "is not an npy array"),
        (zipped(("inputs/x.npy", npy("(17000000,)", content=bytes(68_000_000)))), "more than 64 MiB"),
        (b"PK\3\4 is all there is", "damaged"),
        (zipped(("inputs/x.npy", npy("(True,)", content=b"\0" * 4))), "is not as long as its shape"),
        (zipped(("inputs/x.npy", npy("(1,)", dtype="<U1", content=b"\0\0\x11\0"))), "is no Unicode"),
        (zipped(("inputs/x.npy", npy("(1,)", dtype="<U1", content=b"\0\xd8\0\0"))), "is no Unicode"),
        (zipped(("inputs/\u00e9.npy", b"")).replace(b"\xc3\xa9", b"\xff\xff"), "is damaged"),
        (b"PK" + zipped(("inputs/x.npy", b""))[40:], "is damaged"),
    ],
)
def test_a_hostile_npz(file: Path, content: bytes, words: str) -> None:
    assert words in refusal(file, content)


def test_text_takes_no_more_memory_than_numbers(tmp_path: Path) -> None:
    path = tmp_path / "g.npz"
    text = np.full((1000, 2000), "a", dtype="U1")
    text[0, 0], text[999, 1999] = "\u00e9", "\U0001f40b"
    arrays: dict[str, Any] = {"inputs/x": text}
    np.savez_compressed(path, **arrays)
    tracemalloc.start()
    try:
        read = golden_set.read(path, "s")["s"].inputs["x"]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * text.nbytes
    assert (read.shape, read[0, 0], read[5, 5]) == (text.shape, "\u00e9".encode(), b"a")
    assert read[999, 1999] == "\U0001f40b".encode()


def test_short_texts_of_json_lines_are_counted_as_what_they_take(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonlines, "MAX_TEXT_BYTES", 100_000)
    line = json.dumps({"inputs": {"x": ["ab"] * 1000}})
    file.write_text(f"{line}\n" * 2)
    assert golden_set.read(file, "s")["s"].count == 2
    file.write_text(f"{line}\n" * 3)
    assert "in memory" in refusal(file)


def test_the_entries_are_counted_before_the_archive_is_opened(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = zipped(*[(f"{n}.npy", b"") for n in range(5000)])
    monkeypatch.setattr(zipfile, "ZipFile", None)
    assert "entries" in refusal(file, content)


def test_an_entry_that_is_there_twice(file: Path) -> None:
    entry = ("inputs/x.npy", npy("(1,)", content=b"\0" * 4))
    with pytest.warns(UserWarning, match="Duplicate name"):
        content = zipped(entry, entry)
    assert "has an entry twice" in refusal(file, content)


def test_a_size_that_lies_is_noticed_before_memory_is_taken(file: Path) -> None:
    content = bytearray(zipped(("inputs/x.npy", npy("(1,)", content=b"\0" * 4))))
    directory = content.index(b"PK\1\2")
    content[directory + 24 : directory + 28] = (60_000_000).to_bytes(4, "little")
    assert "is not as long as" in refusal(file, bytes(content))


def test_damage_in_the_compressed_bytes(file: Path) -> None:
    content = bytearray(zipped(("inputs/x.npy", npy("(1000,)", content=bytes(range(250)) * 16))))
    content[150] ^= 0xFF
    assert refusal(file, bytes(content))


@given(content=st.binary(max_size=300), is_zip=st.booleans())
def test_no_bytes_make_it_stumble(tmp_path_factory: pytest.TempPathFactory, *, content: bytes, is_zip: bool) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "golden"
    path.write_bytes(zipped(("inputs/x.npy", b"\x93NUMPY\1\0" + content)) if is_zip else content)
    with pytest.raises(GateInvalidError):
        read(path)


GOOD = '{"inputs": {"x": [1.0]}}'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the file is empty"),
        ("\n \n", "has no arrays"),
        ("inputs: x", "line 1 is not JSON, and the file is no npz archive either"),
        (f"{GOOD}\n{GOOD[:-1]}", "line 2 is not JSON"),
        ("[" * 100_000, "line 1 is not JSON"),
        ("[1]", "line 1 has to be an object"),
        ('{"input": {"x": 1}}', "line 1 has to be an object of inputs, label, labels, outputs, signature"),
        ('{"inputs": [1]}', "line 1: inputs has to be an object"),
        ('{"outputs": {"y": 1}}', "has no inputs"),
        ('{"inputs": {"x": [[1], [1, 2]]}}', "line 1: inputs/x is ragged"),
        ('{"inputs": {"x": {"b64": "?"}}}', "line 1: inputs/x is ragged or has broken base64"),
        ('{"inputs": {"x": null}}', "line 1: inputs/x has a value that is no number"),
        ('{"inputs": {"x": [1, "a"]}}', "several kinds"),
        ('{"inputs": {"x": {"y": 1}}}', "no number, boolean or text"),
        ('{"inputs": {"x": 1e999}, "outputs": {"y": NaN}}', "outputs/y has a value that is not finite"),
        ('{"inputs": {"x": 123456789012345678901234567890}}', "line 1: inputs/x has a value"),
        (f'{GOOD}\n{{"inputs": {{"x": [1.0, 2.0]}}}}', "line 2: inputs/x has shape [2] of numbers, before it [1]"),
        (f'{GOOD}\n{{"inputs": {{"x": ["a"]}}}}', "of text, before it [1] of numbers"),
        (f'{GOOD}\n{{"inputs": {{"y": [1.0]}}}}', "line 2 has inputs/y, the examples before it have inputs/x"),
        (f'{GOOD[:-1]}, "label": 1}}\n{GOOD}', "line 2 has inputs/x, the examples before it have inputs/x, labels"),
        (f'{GOOD[:-1]}, "label": 1, "labels": {{}}}}', "both label and labels"),
        (f'{GOOD[:-1]}, "label": "seven"}}', "labels is object"),
        (f'{GOOD[:-1]}, "signature": ""}}', "signature has to be a name"),
        (f'{GOOD[:-1]}, "label": -3}}', "labels is -3 in example 0"),
        (f'{{"inputs": {{"x": {"[" * 40}"a"{"]" * 40}}}, "label": -3}}', "labels is -3 in example 0"),
        ('{"inputs": {"\\ud800": [1.0]}}', "line 1: inputs has a name that is no Unicode"),
        (f'{GOOD[:-1]}, "signature": "\\ud800"}}', "signature has to be a name"),
    ],
)
def test_json_lines_with_a_mistake(file: Path, text: str, words: str) -> None:
    assert words in refusal(file, text.encode())


def test_limits(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonlines, "MAX_LINES", 2)
    assert "more than 2 lines" in refusal(file, f"{GOOD}\n{GOOD}\n{GOOD}\n".encode())
    monkeypatch.setattr(jsonlines, "MAX_BYTES", 100)
    assert "in memory" in refusal(file, f"{GOOD}\n{GOOD}\n".encode())
    monkeypatch.setattr(jsonlines, "MAX_LINE_BYTES", 10)
    assert "line 1 is longer than" in refusal(file, GOOD.encode())
    monkeypatch.setattr(golden_set, "MAX_EXAMPLES", 1)
    assert "has 2 examples" in refusal(golden_npz(file.with_suffix(".npz"), inputs__x=[1.0, 2.0]))
    monkeypatch.setattr(golden_set, "MAX_FILE_BYTES", 10)
    assert "larger than" in refusal(file, GOOD.encode())
    monkeypatch.setattr(npz, "MAX_ARRAYS", 0)


# Gate, golden set and model ------------------------------------------------------------------------------------------

MODEL = {
    "serving_default": Signature(
        {"x": TensorSpec("float32", (-1, 2))},
        {"scores": TensorSpec("float32", (-1, 10)), "digit": TensorSpec("int64", (-1,))},
    ),
    "one": Signature({"x": TensorSpec("bfloat16", None)}, {"y": TensorSpec("float32", None)}),
    "fixed": Signature({"x": TensorSpec("int8", (4,))}, {"y": TensorSpec("bool", (4,))}),
    "scalar": Signature({"n": TensorSpec("int64", ())}, {"n": TensorSpec("int64", ())}),
    "text": Signature({"s": TensorSpec("string", (-1,))}, {"t": TensorSpec("string", (-1,))}),
    "odd": Signature({"x": TensorSpec("float32", (-1,))}, {"y": TensorSpec("qint8", (-1,))}),
}
X = np.ones((8, 2), np.float32)


def bound(tmp_path: Path, arrays: dict[str, Any], **fields: Any) -> tuple[SignaturePlan, ...]:
    return build_plans(parsed(**fields), read(golden_npz(tmp_path / "g.npz", **arrays)), MODEL)


def test_what_is_sent(tmp_path: Path) -> None:
    arrays = {
        "inputs/x": X,
        "labels": np.arange(8),
        "outputs/digit": np.arange(8),
        "one:inputs/x": X,
        "one:outputs/y": X,
    }
    default, one = bound(
        tmp_path, arrays, output="scores", metrics={"accuracy": ">=0.9"},
        checks=[{"output": "digit", "metrics": {"matches": ">=1"}}, {"signature": "one", "metrics": {"matches": ">=1"}}],
    )  # fmt: skip
    assert [(task.output, task.expected is None, task.labels is None) for task in default.tasks] == [
        ("scores", True, False), ("digit", False, False)
    ]  # fmt: skip
    assert (one.signature, one.tasks[0].output, one.dtypes) == ("one", "y", {"x": "bfloat16"})


def test_without_metrics_every_expected_output_has_to_match(tmp_path: Path) -> None:
    arrays = {"inputs/x": X, "outputs/digit": np.arange(8), "outputs/scores": np.ones((8, 10), np.float32)}
    (plan,) = bound(tmp_path, arrays)
    assert {(task.output, task.check.bounds[0].text) for task in plan.tasks} == {("digit", ">=1"), ("scores", ">=1")}


D = {"inputs/x": X, "labels": np.arange(8)}
ACCURATE = {"metrics": {"accuracy": ">=0.9"}, "output": "scores"}


@pytest.mark.parametrize(
    ("arrays", "fields", "words"),
    [
        (D, {}, "spec.rollout.gate.metrics: the gate checks nothing"),
        (D, {"metrics": {"accuracy": ">=0.9"}}, "gate.output: signature 'serving_default' has several outputs: 'digit', 'scores'"),
        (D, ACCURATE | {"output": "x"}, "has no output 'x'; it has: 'digit', 'scores'"),
        (D, ACCURATE | {"signature": "nope"}, "gate.signature: the model has no signature 'nope'; it has: 'fixed', 'odd'"),
        ({"one:inputs/x": X}, ACCURATE, "the golden set has no examples of signature 'serving_default', only of 'one'"),
        ({"inputs/x": X}, ACCURATE, "metrics.accuracy: the golden set has no labels"),
        ({"inputs/x": X, "labels/digit": np.arange(8)}, ACCURATE, "no labels or labels/scores"),
        (D, {"metrics": {"matches": ">=1"}, "output": "digit"}, "metrics.matches: the golden set has no expected outputs"),
        (D | {"outputs/scores": np.ones((8, 10), "f4")}, {"metrics": {"matches": ">=1"}, "output": "digit"}, "no outputs/digit"),
        (D | {"inputs/z": X}, ACCURATE, "takes the inputs 'x', the golden set has 'x', 'z'"),
        ({"inputs/y": X, "labels": np.arange(8)}, ACCURATE, "takes the inputs 'x', the golden set has 'y'"),
        (D | {"inputs/x": X.astype("f8")}, ACCURATE, "is float64, the model takes float32; write it with dtype float32"),
        (D | {"inputs/x": X[:, :1]}, ACCURATE, "inputs/x of signature 'serving_default' has shape [8, 1], the model has [?, 2]"),
        (D | {"inputs/x": X[..., None]}, ACCURATE, "has shape [8, 2, 1], the model has [?, 2]"),
        (D | {"labels": np.arange(8) + 3}, ACCURATE, "the label of example 7 is 10, output 'scores' has the classes 0 to 9"),
        (D, {"metrics": {"loss": "<=1"}, "output": "digit"}, "is the number of a class, not scores"),
        (D, {"metrics": {"topKAccuracy": ">=1"}, "output": "scores", "topK": 10}, "gate.topK: the 10 highest of 10"),
        (D | {"outputs/scores": np.ones((8, 3), "f4")}, {"metrics": {"matches": ">=1"}, "output": "scores"}, "outputs/scores of"),
        (D | {"outputs/digit": np.array([b"a"] * 8)}, {"metrics": {"matches": ">=1"}, "output": "digit"}, "is string, the model"),
        ({"scalar:inputs/n": [1], "scalar:outputs/n": [1]}, {}, "has no batch dimension in the model"),
        ({"fixed:inputs/x": np.ones(8, "i1"), "fixed:outputs/y": [True] * 8}, {}, "gate.batchSize: inputs/x of signature 'fixed'"),
        ({"fixed:inputs/x": np.ones(6, "i1"), "fixed:outputs/y": [True] * 6}, {"batchSize": 4}, "keep a multiple of 4"),
        (
            {"fixed:inputs/x": np.ones(8, "i1"), "fixed:outputs/y": [True] * 8},
            {"signature": "fixed", "metrics": {"meanAbsoluteError": "<=1"}, "batchSize": 4},
            "is bool, which has no distance",
        ),
        (
            {"text:inputs/s": np.array([b"a"]), "text:labels": [0]},
            {"signature": "text", "metrics": {"accuracy": ">=1"}},
            "is string; labels need numbers",
        ),
        (
            {"odd:inputs/x": np.ones(1, "f4"), "odd:outputs/y": np.ones(1, "f4")},
            {"signature": "odd", "metrics": {"matches": ">=1"}},
            "the model answers qint8, which cannot be compared",
        ),
        (
            {"one:inputs/x": X, "one:outputs/y": X},
            {
                "signature": "one",
                "metrics": {"matches": ">=1"},
                "checks": [{"signature": "one", "output": "y", "metrics": {"meanAbsoluteError": "<=1"}}],
            },
            "checks[0]: output 'y' of signature 'one' is bounded in spec.rollout.gate already",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(tmp_path: Path, arrays: dict[str, Any], fields: dict[str, Any], words: str) -> None:
    with pytest.raises(GateInvalidError) as caught:
        bound(tmp_path, arrays, **fields)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("value", "dtype", "words"),
    [
        (1, "float32", ""),
        (1.5, "float16", ""),
        (1.5, "bfloat16", ""),
        (127, "int8", ""),
        (2**64 - 1, "uint64", ""),
        (True, "bool", ""),
        ("a", "string", ""),
        (128, "int8", "has a number that int8 cannot hold"),
        (-1, "uint8", "has a number that uint8 cannot hold"),
        (1e6, "float16", "has a number that float16 cannot hold"),
        (1.5, "int32", "is float64, the model takes int32"),
        (1, "bool", "is int64, the model takes bool"),
        (True, "float32", "is bool, the model takes float32"),
        ("a", "float32", "is string, the model takes float32"),
        (1, "string", "is int64, the model takes string"),
    ],
)
def test_numbers_of_json_take_the_dtype_of_the_signature(file: Path, value: Any, dtype: str, words: str) -> None:
    file.write_text(json.dumps({"inputs": {"x": value}, "outputs": {"y": 1.0}}))
    model = {"serving_default": Signature({"x": TensorSpec(dtype, None)}, {"y": TensorSpec("float32", None)})}
    if words:
        with pytest.raises(GateInvalidError, match=words):
            build_plans(parsed(), read(file), model)
    else:
        (plan,) = build_plans(parsed(), read(file), model)
        assert plan.inputs["x"].tolist() == [value.encode() if isinstance(value, str) else value]
