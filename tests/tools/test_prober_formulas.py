"""The formulas against scikit-learn, and their values for NaN and infinity."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as sk

from slipway_tools.prober import formulas

SCORES = hnp.arrays(np.float64, st.tuples(st.integers(1, 30), st.integers(2, 9)), elements=st.floats(-30, 30))
SINGLE = hnp.arrays(np.float64, st.integers(1, 30), elements=st.floats(-30, 30))
SEEDS = st.integers(0, 2**32 - 1)
# Each example is itself up to 270 numbers.
few = settings(max_examples=30)


def labels_for(scores: np.ndarray, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, scores.shape[1], len(scores))


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


@few
@given(SCORES, SEEDS)
def test_accuracy(scores: np.ndarray, seed: int) -> None:
    labels = labels_for(scores, seed)
    hits = formulas.label_ranks(scores, labels) == 0
    assert hits.mean() == pytest.approx(sk.accuracy_score(labels, scores.argmax(axis=1)))


@few
@given(SEEDS, st.integers(1, 30), st.integers(3, 9), st.data())
def test_top_k_accuracy(seed: int, rows: int, classes: int, data: st.DataObject) -> None:
    # All scores differ: of classes with the same score scikit-learn takes the last ones, TensorFlow and the prober the first.
    scores = np.random.default_rng(seed).permutation(rows * classes).reshape(rows, classes) / 7
    labels = labels_for(scores, seed)
    k = data.draw(st.integers(1, classes - 1))
    hits = formulas.label_ranks(scores, labels) < k
    assert hits.mean() == pytest.approx(sk.top_k_accuracy_score(labels, scores, k=k, labels=np.arange(classes)))


@few
@given(SCORES, SEEDS)
def test_cross_entropy(scores: np.ndarray, seed: int) -> None:
    labels = labels_for(scores, seed)
    # scikit-learn clips at the smallest step of the dtype, Keras and the prober at 1e-7.
    probabilities = np.clip(softmax(scores), formulas.EPSILON, 1 - formulas.EPSILON)
    ours = formulas.cross_entropy_of_probabilities(softmax(scores), labels)
    expected = [-math.log(row[label]) for row, label in zip(probabilities, labels, strict=True)]
    assert ours == pytest.approx(expected)
    normal = probabilities / probabilities.sum(axis=1, keepdims=True)
    reference = sk.log_loss(labels, normal, labels=np.arange(scores.shape[1]))
    assert formulas.cross_entropy_of_probabilities(normal, labels).mean() == pytest.approx(
        reference, rel=1e-5, abs=1e-6
    )
    of_logits = formulas.cross_entropy_of_logits(np.log(normal), labels).mean()
    assert of_logits == pytest.approx(reference, rel=1e-5, abs=1e-6)


@few
@given(SCORES, SEEDS, st.floats(-1e6, 1e6))
def test_logits_may_be_shifted(scores: np.ndarray, seed: int, shift: float) -> None:
    labels = labels_for(scores, seed)
    moved = formulas.cross_entropy_of_logits(scores + shift, labels)
    assert moved == pytest.approx(formulas.cross_entropy_of_logits(scores, labels), abs=1e-6)


@few
@given(SINGLE, SEEDS)
def test_binary_cross_entropy(logits: np.ndarray, seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, 2, len(logits))
    reference = sk.log_loss(labels, 1 / (1 + np.exp(-logits)), labels=[0, 1])
    assert formulas.binary_cross_entropy_of_logits(logits, labels).mean() == pytest.approx(
        reference, rel=1e-3, abs=1e-9
    )
    gentle = logits / 10
    probabilities = 1 / (1 + np.exp(-gentle))
    both = formulas.binary_cross_entropy_of_probabilities(probabilities, labels)
    assert both == pytest.approx(formulas.binary_cross_entropy_of_logits(gentle, labels), rel=1e-5)


def test_logits_beyond_what_exp_can_hold() -> None:
    wide = np.array([[1000.0, -1000.0], [-1000.0, 1000.0]], np.float32)
    assert formulas.cross_entropy_of_logits(wide, np.array([0, 0])).tolist() == [0, 2000]
    assert formulas.binary_cross_entropy_of_logits(np.array([1000.0, 1000.0]), np.array([1, 0])).tolist() == [0, 1000]


@few
@given(SCORES)
def test_what_is_a_distribution(scores: np.ndarray) -> None:
    assert formulas.are_probabilities(softmax(scores)).all()
    assert formulas.are_probabilities(softmax(scores).astype(np.float16)).all()
    assert not formulas.are_probabilities(softmax(scores) + 1).any()
    assert not formulas.are_probabilities(softmax(scores) / 2).any()


def test_rows_that_are_not_finite_rank_nothing() -> None:
    scores = np.array([[np.nan, 1], [np.inf, 0], [0, 1]])
    assert formulas.label_ranks(scores, np.array([1, 0, 1])).tolist() == [2, 2, 0]
    assert formulas.are_probabilities(scores).tolist() == [False, False, True]


def test_the_first_of_equal_scores_wins_as_with_argmax() -> None:
    scores = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0]])
    assert formulas.label_ranks(scores, np.array([0, 1])).tolist() == [0, 1]


@few
@given(SINGLE, SEEDS)
def test_distances(expected: np.ndarray, seed: int) -> None:
    got = expected + np.random.default_rng(seed).normal(size=len(expected))
    distance = np.abs(formulas.difference(got, expected))
    assert distance.mean() == pytest.approx(sk.mean_absolute_error(expected, got))
    assert (distance**2).mean() == pytest.approx(sk.mean_squared_error(expected, got))
    assert distance.max() == pytest.approx(sk.max_error(expected, got))


@few
@given(SINGLE, SINGLE, st.floats(0, 1), st.floats(0, 1))
def test_close_is_numpys(got: np.ndarray, expected: np.ndarray, absolute: float, relative: float) -> None:
    size = min(len(got), len(expected))
    got, expected = got[:size], expected[:size]
    assert np.array_equal(
        formulas.close(got, expected, absolute, relative), np.isclose(got, expected, atol=absolute, rtol=relative)
    )


def test_close_of_other_things_than_floats() -> None:
    text = np.array([b"a", b"b"], dtype=object)
    assert formulas.close(text, np.array([b"a", b"c"], dtype=object), 1, 1).tolist() == [True, False]
    assert formulas.close(np.array([True]), np.array([False]), 1, 1).tolist() == [False]
    large = np.array([2**62, 2**62 + 1])
    assert formulas.close(large, large, 0, 0).all()
    assert formulas.close(np.array([200], np.uint8), np.array([250], np.int64), 49, 0).tolist() == [False]
    assert formulas.close(np.array([1 + 1j]), np.array([1 + 1.5j]), 0.6, 0).all()
    assert not formulas.close(np.array([np.nan, np.inf]), np.array([np.nan, np.inf]), 1, 1).any()


@few
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=300), st.integers(1, 100))
def test_percentile(values: list[float], percent: int) -> None:
    ours = formulas.percentile(values, percent)
    assert ours in values
    assert sum(value <= ours for value in values) >= percent / 100 * len(values) - 1e-9
    assert sum(value < ours for value in values) < percent / 100 * len(values) + 1e-9
    assert ours == np.percentile(values, percent, method="inverted_cdf") or percent / 100 * len(values) % 1 < 1e-9


def test_percentiles_of_a_hundred() -> None:
    values = [float(value) for value in range(1, 101)]
    assert (formulas.percentile(values, 50), formulas.percentile(values, 99)) == (50, 99)
    assert formulas.percentile(values[:99], 99) == 99
    assert formulas.percentile([7.0], 99) == 7
