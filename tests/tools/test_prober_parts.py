"""Accumulators, tensors, the readiness rule and the termination message: the pure parts of the prober."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk
from tensorflow.core.framework import tensor_pb2, types_pb2

from slipway_tools.prober import gate_verdict, tensor_proto
from slipway_tools.prober.accumulators import Accumulator, Measurement
from slipway_tools.prober.evaluation import BoundResult, raise_for_failures
from slipway_tools.prober.evaluation_plan import EvaluationTask
from slipway_tools.prober.gate_errors import GateFailedError, GateInvalidError
from slipway_tools.prober.gate_verdict import Example, Verdict
from slipway_tools.prober.prober_status import ProberStatus
from slipway_tools.prober.readiness import ProbeResult, Readiness
from slipway_tools.prober.resolved_gate import Bound, Check, Gate, Metric
from slipway_tools.prober.serving_client import TensorSpec

RANDOM = np.random.default_rng(5)
GATE = Gate("s", (), 1e-5, 1e-3, top_k=2, batch_size=1, timeout_seconds=30, interval_seconds=None)


def task(*names: str, expected: Any = None, labels: Any = None, dtype: str = "float32") -> EvaluationTask:
    bounds = tuple(Bound(Metric(name), "<=", 1.0) for name in names)
    check = Check("spec.rollout.gate", "s", "o", bounds)
    return EvaluationTask(check, "o", TensorSpec(dtype, None), expected, None if labels is None else np.asarray(labels))


def accumulated(got: np.ndarray, *names: str, batch: int = 3, **against: Any) -> list[Measurement]:
    accumulator = Accumulator(GATE, task(*names, dtype=str(got.dtype), **against))
    for start in range(0, len(got), batch):
        accumulator.add(start, got[start : start + batch])
    return [accumulator.result(Metric(name)) for name in names]


# Accumulators --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 3, 7, 100])
@pytest.mark.parametrize("as_logits", [False, True])
@pytest.mark.parametrize("shape", [(20, 4), (20, 1, 4), (20, 4, 1)])
def test_scores(*, batch: int, shape: tuple[int, ...], as_logits: bool) -> None:
    logits = RANDOM.normal(size=(20, 4)).astype(np.float32)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = RANDOM.integers(0, 4, 20)
    got = (logits if as_logits else probabilities).reshape(shape)
    accuracy, top, loss = accumulated(got, "accuracy", "topKAccuracy", "loss", labels=labels, batch=batch)
    assert accuracy.value == pytest.approx(sk.accuracy_score(labels, logits.argmax(axis=1)))
    assert top.value == pytest.approx(sk.top_k_accuracy_score(labels, logits, k=2))
    assert loss.value == pytest.approx(sk.log_loss(labels, probabilities, labels=range(4)), rel=1e-5)
    first = int(np.argmax(logits.argmax(axis=1) != labels))
    assert accuracy.example == Example(first, int(labels[first]), int(logits[first].argmax()))


@pytest.mark.parametrize("as_logits", [False, True])
@pytest.mark.parametrize("shape", [(30,), (30, 1)])
def test_one_score_is_binary(*, shape: tuple[int, ...], as_logits: bool) -> None:
    logits = RANDOM.normal(size=30)
    probabilities = 1 / (1 + np.exp(-logits))
    labels = RANDOM.integers(0, 2, 30)
    got = (logits if as_logits else probabilities).reshape(shape)
    accuracy, loss = accumulated(got, "accuracy", "loss", labels=labels)
    assert accuracy.value == pytest.approx(sk.accuracy_score(labels, logits > 0))
    assert loss.value == pytest.approx(sk.log_loss(labels, probabilities))


def test_class_numbers() -> None:
    (accuracy,) = accumulated(np.array([3, 1, 2]), "accuracy", labels=[3, 2, 2])
    assert accuracy == Measurement(2 / 3, 3, Example(1, 2, 1))
    (accuracy,) = accumulated(np.array([[True], [False]]), "accuracy", labels=[1, 1])
    assert accuracy.value == 0.5


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("columns", [1, 3])
def test_scores_that_are_not_finite_measure_nothing(broken: float, columns: int) -> None:
    got = np.full((4, columns), 0.2, np.float32)
    got[2, -1] = broken
    for measured in accumulated(got, "accuracy", "loss", labels=[0, 0, 0, 0]):
        assert np.isnan(measured.value)
        assert measured.example is not None
        assert measured.example.index == 2 or columns == 1


@pytest.mark.parametrize(
    ("got", "labels", "names", "words"),
    [
        (np.ones((2, 3, 4), np.float32), [0, 0], ["accuracy"], "has shape [3, 4] for each example"),
        (np.ones((2, 0), np.float32), [0, 0], ["accuracy"], "has shape [0] for each example"),
        (np.ones((2, 3), np.float32), [0, 3], ["accuracy"], "the label of example 1 is 3"),
        (np.ones((2, 1), np.float32), [0, 2], ["accuracy"], "the label of example 1 is 2"),
        (np.ones((2, 2), np.float32), [0, 1], ["topKAccuracy"], "the 2 highest of 2 always contain the label"),
        (np.ones((2, 1), np.int64), [0, 1], ["loss"], "is the number of a class"),
    ],
)
def test_answers_that_labels_do_not_fit(got: np.ndarray, labels: Any, names: list[str], words: str) -> None:
    with pytest.raises(GateInvalidError) as caught:
        accumulated(got, *names, labels=labels)
    assert words in str(caught.value)


ERRORS = ("matches", "meanAbsoluteError", "meanSquaredError", "maxAbsoluteError")


@pytest.mark.parametrize("batch", [1, 4, 50])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32", "complex64"])
def test_distances(dtype: str, batch: int) -> None:
    expected = (RANDOM.normal(size=(10, 3)) * 9).astype(dtype)
    got = expected.copy()
    got[6, 1] += 5
    got[4, 2] -= 2
    matches, mean, square, largest = accumulated(got, *ERRORS, expected=expected, batch=batch)
    assert matches.value == 0.8
    assert matches.example is not None
    assert matches.example.index == 4
    flat = [np.abs(array.astype(complex)).reshape(-1) for array in (got - expected, expected * 0)]
    assert mean.value == pytest.approx(sk.mean_absolute_error(flat[1], flat[0]), rel=1e-3)
    assert square.value == pytest.approx(sk.mean_squared_error(flat[1], flat[0]), rel=1e-3)
    assert largest.value == pytest.approx(5, rel=1e-2)
    assert largest.example is not None
    assert largest.example.index == 6


def test_what_is_right_has_no_example() -> None:
    for measured in accumulated(np.ones(4), *ERRORS, expected=np.ones(4)):
        assert measured.example is None


def test_answers_of_one_score_and_of_several() -> None:
    accumulator = Accumulator(GATE, task("accuracy", labels=[0, 0, 1]))
    accumulator.add(0, np.array([[0.9, 0.1], [0.9, 0.1]], np.float32))
    with pytest.raises(GateInvalidError, match="one score for some examples and several for others"):
        accumulator.add(2, np.array([[0.9]], np.float32))


def test_text_and_booleans_match_or_not() -> None:
    text = np.array([b"a\0", b"b"], dtype=object)
    (matches,) = accumulated(text, "matches", expected=np.array([b"a\0", b"c"], dtype=object))
    assert matches == Measurement(0.5, 2, Example(1, "c", "b"))
    (matches,) = accumulated(np.array([b"a", b"b"], dtype=object), "matches", expected=np.array([b"a", b"b"]))
    assert matches.value == 1
    (matches,) = accumulated(np.array([True, False]), "matches", expected=np.array([True, True]))
    assert matches.value == 0.5


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_distance_to_what_is_not_finite(broken: float) -> None:
    got = np.ones((3, 2), np.float32)
    got[1, 0] = broken
    matches, *distances = accumulated(got, *ERRORS, expected=np.ones((3, 2), np.float32))
    assert matches.value == pytest.approx(2 / 3)
    for measured in distances:
        assert not np.isfinite(measured.value)
        assert measured.example == Example(1, [1.0, 1.0], [str(broken), 1.0])


def test_answers_of_another_shape() -> None:
    with pytest.raises(
        GateInvalidError, match=r"outputs/o of signature 's' has \[2\] for each example, the model's answer has \[3\]"
    ):
        accumulated(np.ones((2, 3)), "matches", expected=np.ones((2, 2)))


# The verdict ---------------------------------------------------------------------------------------------------------


def finding(metric: str, value: float, bound: Bound, example: Example | None = None) -> BoundResult:
    return BoundResult(Check("f", "s", "o", (bound,)), "o", bound, Measurement(value, 20, example))


def test_the_first_broken_bound_is_the_verdict() -> None:
    accuracy, loss = Bound(Metric.ACCURACY, ">=", 0.9), Bound(Metric.LOSS, "<=", 1)
    with pytest.raises(GateFailedError) as caught:
        raise_for_failures(
            [finding("a", 0.95, accuracy), finding("b", float("nan"), loss), finding("c", 0.1, accuracy)], "serving"
        )
    document = json.loads(caught.value.verdict.json())
    assert (document["metric"], document["measured"], document["stage"]) == ("loss", None, "serving")
    assert "loss is not finite, the gate requires <=1" in document["message"]
    assert "also missed: accuracy is 0.1, the gate requires >=0.9" in document["message"]
    raise_for_failures([finding("a", 0.95, accuracy)], "start")


@given(st.text(), st.text(max_size=3000), st.text(max_size=6000), st.lists(st.text(max_size=500), max_size=9))
def test_a_message_never_exceeds_what_the_kubelet_keeps(
    message: str, name: str, output: str, values: list[str]
) -> None:
    example = Example(
        1, gate_verdict.shown(np.array([value.encode(errors="ignore") for value in values], dtype=object)), values
    )
    long = Verdict(message * 50, {"metric": "matches", "signature": name, "output": output}, example).json()
    for text in (long, gate_verdict.invalid(message * 50)):
        # Of 12 KiB for the pod: six containers, of which injected sidecars may be three.
        assert len(text.encode(errors="replace")) <= 2048
        assert {"reason", "message"} <= set(json.loads(text))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.float32(1 / 3), 0.333333),
        (np.array([1, 2]), [1, 2]),
        (np.array([[7]]), 7),
        (np.arange(10), [0, 1, 2, 3, 4, 5, 6, 7, "… 2 more"]),
        (np.array([np.nan, np.inf]), ["nan", "inf"]),
        (np.array([b"\xff" + b"a" * 100], dtype=object), "\\xff" + "a" * 60 + "…"),
        (np.array([True]), True),
        (np.array([1 + 2j]), "(1+2j)"),
        (np.array([]), []),
    ],
)
def test_values_are_cut(value: Any, text: Any) -> None:
    assert gate_verdict.shown(value) == text


# Tensors -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", sorted(set(tensor_proto.DTYPES.values()) - {"string", "bfloat16"}))
def test_tensors_there_and_back(dtype: str) -> None:
    array = (RANDOM.normal(size=(2, 3)) * 5).astype(dtype)
    back = tensor_proto.from_proto(tensor_proto.to_proto(array, dtype))
    assert back.dtype == array.dtype
    assert np.array_equal(back, array)


def test_text_there_and_back() -> None:
    array = np.array([[b"a\0", b""]], dtype=object)
    assert tensor_proto.from_proto(tensor_proto.to_proto(array, "string")).tolist() == [[b"a\0", b""]]
    assert tensor_proto.from_proto(tensor_proto.to_proto(np.array([b"ab", b"c"]), "string")).tolist() == [b"ab", b"c"]


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_bfloat16_is_the_nearest(value: float) -> None:
    import ml_dtypes  # noqa: PLC0415 - the independent source, used here alone

    array = np.array([value], np.float32)
    with np.errstate(over="ignore"):
        reference = array.astype(ml_dtypes.bfloat16)
    assert tensor_proto.from_proto(tensor_proto.to_proto(array, "bfloat16"))[0] == float(reference[0])
    assert tensor_proto.from_proto(tensor_proto.to_proto(reference.view("V2"), "bfloat16"))[0] == float(reference[0])


def message(dtype: int, shape: list[int], **fields: Any) -> Any:
    proto = tensor_pb2.TensorProto(dtype=dtype, **fields)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


@pytest.mark.parametrize(
    ("proto", "values"),
    [
        (message(types_pb2.DT_FLOAT, [2, 2], float_val=[1, 2]), [[1, 2], [2, 2]]),
        (message(types_pb2.DT_FLOAT, [2]), [0, 0]),
        (message(types_pb2.DT_STRING, [2]), [b"", b""]),
        (message(types_pb2.DT_STRING, [0]), []),
        (message(types_pb2.DT_STRING, [2], string_val=[b"a"]), [b"a", b"a"]),
        (message(types_pb2.DT_HALF, [1], half_val=[0x3C00]), [1]),
        (message(types_pb2.DT_BFLOAT16, [1], half_val=[0x3F80]), [1]),
        (message(types_pb2.DT_UINT8, [2], int_val=[255, 1]), [255, 1]),
        (message(types_pb2.DT_INT8, [1], int_val=[-1]), [-1]),
        (message(types_pb2.DT_UINT64, [1], uint64_val=[2**64 - 1]), [2**64 - 1]),
        (message(types_pb2.DT_BOOL, [2], bool_val=[True, False]), [True, False]),
        (message(types_pb2.DT_COMPLEX64, [1], scomplex_val=[1, 2]), [1 + 2j]),
        (message(types_pb2.DT_DOUBLE, [1], tensor_content=np.float64(0.1).tobytes()), [0.1]),
    ],
)
def test_tensors_of_a_server(proto: Any, values: list[Any]) -> None:
    assert tensor_proto.from_proto(proto).tolist() == values


@pytest.mark.parametrize(
    ("proto", "words"),
    [
        (message(types_pb2.DT_QINT8, [1]), "qint8 cannot be compared"),
        (message(types_pb2.DT_FLOAT, [1 << 40]), "shape is not valid"),
        (message(types_pb2.DT_FLOAT, [-1]), "shape is not valid"),
        (message(types_pb2.DT_DOUBLE, [1 << 29], double_val=[1.0]), "shape is not valid"),
        (message(types_pb2.DT_STRING, [1 << 29], string_val=[b"a"]), "shape is not valid"),
        (message(97, [1]), "dtype 97 cannot be compared"),
        (message(types_pb2.DT_FLOAT, [2], tensor_content=b"1234"), "does not fit the shape"),
        (message(types_pb2.DT_FLOAT, [2], tensor_content=b"123"), "buffer size"),
    ],
)
def test_tensors_that_are_none(proto: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        tensor_proto.from_proto(proto)


# Readiness -----------------------------------------------------------------------------------------------------------


def after(*results: ProbeResult) -> Readiness:
    readiness = Readiness()
    for each in results:
        readiness = readiness.after(each)
    return readiness


@pytest.mark.parametrize(
    ("results", "lost"),
    [
        ([ProbeResult.ANSWERED, ProbeResult.OVERLOADED], False),
        ([ProbeResult.OVERLOADED] * 1000, False),
        ([ProbeResult.UNREACHABLE], True),
        ([ProbeResult.HUNG], True),
        ([ProbeResult.SLOW] * 2, False),
        ([ProbeResult.SLOW] * 3, True),
        ([ProbeResult.SLOW, ProbeResult.SLOW, ProbeResult.OVERLOADED, ProbeResult.SLOW, ProbeResult.SLOW], False),
        ([ProbeResult.ERROR], False),
        ([ProbeResult.ERROR, ProbeResult.ERROR], True),
        ([ProbeResult.ERROR, ProbeResult.ANSWERED, ProbeResult.ERROR], False),
        ([ProbeResult.SLOW, ProbeResult.ERROR, ProbeResult.SLOW, ProbeResult.ERROR], False),
    ],
)
def test_who_leaves_the_endpoints(*, results: list[ProbeResult], lost: bool) -> None:
    assert after(*results).lost is lost


def test_the_deadline_doubles_while_a_server_is_slow() -> None:
    waits = [after(*[ProbeResult.SLOW] * times).deadline(30) for times in range(3)]
    assert waits == [30, 60, 120]
    assert after(ProbeResult.SLOW, ProbeResult.OVERLOADED).deadline(30) == 30


@given(st.lists(st.sampled_from([ProbeResult.ANSWERED, ProbeResult.OVERLOADED, ProbeResult.SLOW]), max_size=50))
def test_whoever_answers_now_and_then_stays(results: list[ProbeResult]) -> None:
    mixed = [each for one in results for each in (one, ProbeResult.OVERLOADED)]
    readiness = Readiness()
    for each in mixed:
        readiness = readiness.after(each)
        assert not readiness.lost


# The pages -----------------------------------------------------------------------------------------------------------


def test_the_exposition_is_what_prometheus_reads() -> None:
    from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415 - the independent source

    status = ProberStatus('a "model"\\\n', "3", wall=lambda: 1.5)
    bound = Bound(Metric.LOSS, "<=", 1)
    status.record("failed", [finding("x", float("nan"), bound)])
    status.record("passed", [finding("x", float("inf"), bound)])
    status.record("overloaded")
    families = {family.name: family for family in text_string_to_metric_families(status.exposition())}
    assert {name: family.type for name, family in families.items()} == {
        "slipway_gate_metric_value": "gauge",
        "slipway_gate_bound": "gauge",
        "slipway_gate_samples": "gauge",
        "slipway_gate_passed": "gauge",
        "slipway_gate_evaluations": "counter",
        "slipway_gate_last_evaluation_timestamp_seconds": "gauge",
    }
    (sample,) = families["slipway_gate_metric_value"].samples
    assert sample.labels == {
        "model": 'a "model"\\\n',
        "revision": "3",
        "signature": "s",
        "output": "o",
        "metric": "loss",
    }
    assert sample.value == float("inf")
    checks = {sample.labels["result"]: sample.value for sample in families["slipway_gate_evaluations"].samples}
    assert checks == {"passed": 1, "failed": 1, "overloaded": 1, "unanswered": 0}
    assert families["slipway_gate_passed"].samples[0].value == 1
    assert families["slipway_gate_last_evaluation_timestamp_seconds"].samples[0].value == 1.5


def test_a_loop_that_does_not_move_is_not_alive() -> None:
    now = [0.0]
    status = ProberStatus("m", "1", clock=lambda: now[0])
    status.alive_for(10)
    assert status.alive
    now[0] = 10.5
    assert not status.alive
