"""Collects what the answers to one output are worth, batch by batch, in a few numbers for each example.

The answers themselves are not kept: a golden set may ask for gigabytes of them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from slipway_tools.pilot import metrics
from slipway_tools.pilot.binding import Task, check_classes
from slipway_tools.pilot.errors import GateInvalidError
from slipway_tools.pilot.gate import NEED_LABELS, NEED_OUTPUTS, Gate, Metric
from slipway_tools.pilot.goldenset import GOLDEN
from slipway_tools.pilot.verdict import Example, shown

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Measured:
    """One number, of how many examples, and the first wrong (or the worst) one; no example where all are right."""

    value: float
    samples: int
    example: Example | None = None


class Tally:
    """Takes the answers to a task in the order of the examples; `result` gives the metrics at the end."""

    def __init__(self, gate: Gate, task: Task) -> None:
        self._gate = gate
        self._task = task
        self._classes = _Classes(gate, task) if task.wants(NEED_LABELS) else None
        self._errors = _Errors(gate, task) if task.wants(NEED_OUTPUTS) else None

    def add(self, start: int, got: Array) -> None:
        """Take the answers [B, …] to the examples from `start` on.

        Raises:
            GateInvalidError: when answers and golden set have different shapes.
        """
        if self._classes is not None:
            self._classes.add(start, got)
        if self._errors is not None:
            self._errors.add(start, got)

    def result(self, metric: Metric) -> Measured:
        """Return a metric of all that was added."""
        collected = self._classes if metric in NEED_LABELS else self._errors
        assert collected is not None
        return collected.result(metric)


class _Classes:
    """Accuracy, top-k accuracy and loss: of scores [N, C], of one score [N], or of class numbers [N]."""

    def __init__(self, gate: Gate, task: Task) -> None:
        assert task.labels is not None
        self._gate, self._task, self._labels = gate, task, task.labels
        self._ranks: list[Array] = []
        self._winners: list[Array] = []
        self._single: list[Array] = []
        self._distributions: list[Array] = []
        self._losses: tuple[list[Array], list[Array]] = ([], [])

    def add(self, start: int, got: Array) -> None:
        scores = self._scores(got)
        labels = self._labels[start : start + len(scores)]
        if start and (scores.shape[1] == 1) != bool(self._single):
            raise GateInvalidError(
                f"{self._task.check.field}: output {self._task.output!a} has one score for some examples and several for "
                "others; name another output"
            )
        if scores.shape[1] == 1:
            self._single.append(scores[:, 0])
            return
        self._ranks.append(metrics.label_ranks(scores, labels))
        self._winners.append(np.argmax(scores, axis=1))
        finite = np.isfinite(scores).all(axis=1)
        self._distributions.append(metrics.are_probabilities(scores))
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            for losses, formula in zip(
                self._losses,
                (metrics.cross_entropy_of_probabilities, metrics.cross_entropy_of_logits),
                strict=True,
            ):
                losses.append(np.where(finite, formula(scores, labels), np.nan))

    def _scores(self, got: Array) -> Array:
        """Return [B, C]; axes of length 1 are left out."""
        task = self._task
        inner = tuple(size for size in got.shape[1:] if size != 1)
        if len(inner) > 1 or 0 in inner:
            raise GateInvalidError(
                f"{task.check.field}: output {task.output!a} answers {list(got.shape[1:])} for each example; labels need one "
                "row of scores, one score or one class number"
            )
        scores = got.reshape(len(got), inner[0] if inner else 1)
        for bound in task.check.bounds:
            if bound.metric in NEED_LABELS:
                field = f"{task.check.field}.metrics.{bound.metric}"
                check_classes(self._gate, task, bound.metric, scores.shape[1], field)
        return scores if scores.dtype.kind != "b" else scores.astype(np.int8)

    def result(self, metric: Metric) -> Measured:
        if self._single:
            values, wrong, got = self._single_score(metric)
        else:
            values, wrong, got = self._many_scores(metric)
        with np.errstate(invalid="ignore"):
            value = float(np.mean(values))
        first = _first(wrong) if metric is not Metric.LOSS else _worst(values)
        example = None if first is None else Example(first, int(self._labels[first]), shown(got[first]))
        return Measured(value, len(values), example)

    def _many_scores(self, metric: Metric) -> tuple[Array, Array, Array]:
        winners = np.concatenate(self._winners)
        if metric is Metric.LOSS:
            probabilities = bool(np.concatenate(self._distributions).all())
            losses = np.concatenate(self._losses[0 if probabilities else 1])
            return losses, losses > 0, winners
        hits = np.concatenate(self._ranks) < (1 if metric is Metric.ACCURACY else self._gate.top_k)
        finite = np.isfinite(np.concatenate(self._losses[1]))
        return np.where(finite, hits.astype(np.float64), np.nan), ~hits, winners

    def _single_score(self, metric: Metric) -> tuple[Array, Array, Array]:
        """One column: class numbers where it is whole numbers, else the score of class 1."""
        scores = np.concatenate(self._single)
        if scores.dtype.kind in "iu":
            hits = scores == self._labels
            return hits.astype(np.float64), ~hits, scores
        finite = np.isfinite(scores)
        probabilities = bool(((scores >= 0) & (scores <= 1))[finite].all())
        if metric is Metric.LOSS:
            formula = (
                metrics.binary_cross_entropy_of_probabilities
                if probabilities
                else metrics.binary_cross_entropy_of_logits
            )
            losses = np.where(finite, formula(np.where(finite, scores, 0), self._labels), np.nan)
            return losses, losses > 0, scores
        hits = finite & ((scores >= (0.5 if probabilities else 0.0)) == (self._labels == 1))
        return np.where(finite, hits.astype(np.float64), np.nan), ~hits, scores


class _Errors:
    """Matches and distances between the answers and the expected outputs."""

    def __init__(self, gate: Gate, task: Task) -> None:
        assert task.expected is not None
        self._gate, self._task, self._expected = gate, task, task.expected
        self._distances = task.wants(NEED_OUTPUTS - {Metric.MATCHES})
        self._matches: list[Array] = []
        self._values: dict[Metric, list[Array]] = {
            Metric.MEAN_ABSOLUTE_ERROR: [], Metric.MEAN_SQUARED_ERROR: [], Metric.MAX_ABSOLUTE_ERROR: []
        }  # fmt: skip
        self._mismatch: Example | None = None
        self._worst: Example | None = None
        self._worst_error = 0.0

    def add(self, start: int, got: Array) -> None:
        expected = self._expected[start : start + len(got)]
        if got.shape != expected.shape:
            raise GateInvalidError(
                f"{GOLDEN}: outputs/{self._task.output} of signature {self._task.check.signature!a} has "
                f"{list(expected.shape[1:])} for each example, the model answers {list(got.shape[1:])}; correct the golden set"
            )
        if got.dtype.kind == "O":
            expected = expected.astype(object)
        axes = tuple(range(1, got.ndim))
        right = np.asarray(metrics.close(got, expected, self._gate.absolute, self._gate.relative).all(axis=axes))
        self._matches.append(right)
        if self._mismatch is None and not right.all():
            self._mismatch = _example(start, int(np.argmin(right)), expected, got)
        if self._distances:
            with np.errstate(invalid="ignore", over="ignore"):
                self._add_distances(start, got, expected, axes)

    def _add_distances(self, start: int, got: Array, expected: Array, axes: tuple[int, ...]) -> None:
        distance = np.abs(metrics.difference(got, expected))
        largest = distance.max(axis=axes, initial=0)
        self._values[Metric.MEAN_ABSOLUTE_ERROR].append(distance.mean(axis=axes))
        self._values[Metric.MEAN_SQUARED_ERROR].append((distance**2).mean(axis=axes))
        self._values[Metric.MAX_ABSOLUTE_ERROR].append(largest)
        comparable = np.where(np.isfinite(largest), largest, np.inf)
        row = int(np.argmax(comparable))
        if comparable[row] > self._worst_error:
            self._worst_error, self._worst = float(comparable[row]), _example(start, row, expected, got)

    def result(self, metric: Metric) -> Measured:
        if metric is Metric.MATCHES:
            right = np.concatenate(self._matches)
            return Measured(float(right.mean()), len(right), self._mismatch)
        values = np.concatenate(self._values[metric])
        with np.errstate(invalid="ignore", over="ignore"):
            value = float(values.max() if metric is Metric.MAX_ABSOLUTE_ERROR else values.mean())
        return Measured(value, len(values), self._worst)


def _example(start: int, row: int, expected: Array, got: Array) -> Example:
    return Example(start + row, shown(expected[row]), shown(got[row]))


def _first(wrong: Array) -> int | None:
    return int(np.argmax(wrong)) if wrong.any() else None


def _worst(values: Array) -> int | None:
    return int(np.argmax(np.where(np.isnan(values), np.inf, values)))
