"""The formulas of the gate, as pure functions of arrays. Each returns one value for each example, as float64 or bool.

Labels are whole numbers from 0. A score is one number for each class, in any monotone scale: probabilities or logits.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
# Keras clips probabilities to [1e-7, 1 - 1e-7] before the logarithm (keras.config.epsilon).
EPSILON = 1e-7
# Probabilities that were computed in half precision sum to 1 within this.
_SUM_SLACK = 1e-2


def label_ranks(scores: Array, labels: Array) -> Array:
    """Return how many classes come before the label: those with a higher score, and lower ones with the same score.

    A rank of 0 is numpy's and TensorFlow's argmax; a rank below k is a hit among the k highest. A row with a score that
    is not finite has no ranking: its rank is the number of classes.

    Args:
        scores: [N, C].
        labels: [N], whole numbers in [0, C).
    """
    own = np.take_along_axis(scores, labels[:, np.newaxis], axis=1)
    earlier = np.arange(scores.shape[1]) < labels[:, np.newaxis]
    ranks = np.sum((scores > own) | ((scores == own) & earlier), axis=1)
    result: Array = np.where(np.isfinite(scores).all(axis=1), ranks, scores.shape[1])
    return result


def are_probabilities(scores: Array) -> Array:
    """Return for each row of [N, C] whether it can be a distribution: within [0, 1], summing to 1 within 0.01."""
    inside = ((scores >= 0) & (scores <= 1)).all(axis=1)
    close: Array = inside & (np.abs(np.sum(scores, axis=1, dtype=np.float64) - 1) <= _SUM_SLACK)
    return close


def cross_entropy_of_probabilities(probabilities: Array, labels: Array) -> Array:
    """Return -ln p[label] for each row of [N, C]; p is clipped to [1e-7, 1 - 1e-7] as Keras does."""
    own = np.take_along_axis(probabilities.astype(np.float64), labels[:, np.newaxis], axis=1)[:, 0]
    result: Array = -np.log(np.clip(own, EPSILON, 1 - EPSILON))
    return result


def cross_entropy_of_logits(logits: Array, labels: Array) -> Array:
    """Return ln(sum_j exp(z[j])) - z[label] for each row of [N, C], shifted by the maximum so that nothing overflows."""
    with np.errstate(invalid="ignore"):
        shifted = logits.astype(np.float64) - np.max(logits, axis=1, keepdims=True)
        own = np.take_along_axis(shifted, labels[:, np.newaxis], axis=1)[:, 0]
        result: Array = np.log(np.sum(np.exp(shifted), axis=1)) - own
    return result


def binary_cross_entropy_of_probabilities(probabilities: Array, labels: Array) -> Array:
    """Return -ln p for label 1 and -ln(1 - p) for label 0, of [N]; p is clipped to [1e-7, 1 - 1e-7]."""
    clipped = np.clip(probabilities.astype(np.float64), EPSILON, 1 - EPSILON)
    result: Array = -np.log(np.where(labels == 1, clipped, 1 - clipped))
    return result


def binary_cross_entropy_of_logits(logits: Array, labels: Array) -> Array:
    """Return ln(1 + exp(-z)) for label 1 and ln(1 + exp(z)) for label 0, of [N], computed without overflow."""
    result: Array = np.logaddexp(0.0, np.where(labels == 1, -1.0, 1.0) * logits.astype(np.float64))
    return result


def close(got: Array, expected: Array, absolute: float, relative: float) -> Array:
    """Return for each element whether |got - expected| <= absolute + relative * |expected|; what is not finite is not close.

    Whole numbers that are equal are close whatever their size; text and booleans are close when equal.
    """
    equal: Array = got == expected
    if got.dtype.kind not in "iufc":
        return equal
    with np.errstate(invalid="ignore", over="ignore"):
        near = np.abs(difference(got, expected)) <= absolute + relative * np.abs(wide(expected))
    result: Array = (equal | near) & np.isfinite(got)
    return result


def difference(got: Array, expected: Array) -> Array:
    """Return got - expected in double precision."""
    result: Array = wide(got) - wide(expected)
    return result


def wide(values: Array) -> Array:
    """Return numbers or booleans in double precision."""
    return values.astype(np.complex128 if values.dtype.kind == "c" else np.float64)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least `percent` of all values do not exceed (nearest rank).

    It is a value that was measured, never one between two; with fewer than 100 values the 99th percentile is the largest.
    """
    return sorted(values)[max(0, math.ceil(percent / 100 * len(values)) - 1)]
