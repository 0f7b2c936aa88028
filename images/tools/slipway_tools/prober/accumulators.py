"""Accumulates the metrics of one output batch by batch, in a few numbers for each example.

The answers themselves are not kept: those to a large golden set may be gigabytes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from slipway_tools.prober import formulas
from slipway_tools.prober.evaluation_plan import EvaluationTask, check_classes
from slipway_tools.prober.gate_errors import GateInvalidError
from slipway_tools.prober.gate_verdict import Example, shown
from slipway_tools.prober.golden_set import GOLDEN
from slipway_tools.prober.resolved_gate import NEED_LABELS, NEED_OUTPUTS, Gate, Metric

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Measurement:
    """The value of a metric, the number of examples, and the first wrong (or the worst) one; None if all are right."""

    value: float
    samples: int
    example: Example | None = None


class Accumulator:
    """Takes the answers of a task in the order of the examples; `result` then returns the metrics."""

    def __init__(self, gate: Gate, task: EvaluationTask) -> None:
        self._gate = gate
        self._task = task
        self._of_labels = _ClassMetrics(gate, task) if task.measures(NEED_LABELS) else None
        self._of_outputs = _DistanceMetrics(gate, task) if task.measures(NEED_OUTPUTS) else None

    def add(self, start: int, got: Array) -> None:
        """Add the answers [B, …] to the examples from `start` on.

        Raises:
            GateInvalidError: when answers and golden set have different shapes.
        """
        if self._of_labels is not None:
            self._of_labels.add(start, got)
        if self._of_outputs is not None:
            self._of_outputs.add(start, got)

    def result(self, metric: Metric) -> Measurement:
        """Return a metric of everything that was added."""
        collected = self._of_labels if metric in NEED_LABELS else self._of_outputs
        assert collected is not None
        return collected.result(metric)


class _ClassMetrics:
    """Accuracy, top-k accuracy and loss: of scores [N, C], of one score [N], or of class numbers [N]."""

    def __init__(self, gate: Gate, task: EvaluationTask) -> None:
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
        self._ranks.append(formulas.label_ranks(scores, labels))
        self._winners.append(np.argmax(scores, axis=1))
        finite = np.isfinite(scores).all(axis=1)
        self._distributions.append(formulas.are_probabilities(scores))
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            for losses, formula in zip(
                self._losses,
                (formulas.cross_entropy_of_probabilities, formulas.cross_entropy_of_logits),
                strict=True,
            ):
                losses.append(np.where(finite, formula(scores, labels), np.nan))

    def _scores(self, got: Array) -> Array:
        """Return [B, C], without axes of length 1."""
        task = self._task
        inner = tuple(size for size in got.shape[1:] if size != 1)
        if len(inner) > 1 or 0 in inner:
            raise GateInvalidError(
                f"{task.check.field}: output {task.output!a} has shape {list(got.shape[1:])} for each example; labels need one "
                "row of scores, one score or one class number"
            )
        scores = got.reshape(len(got), inner[0] if inner else 1)
        for bound in task.check.bounds:
            if bound.metric in NEED_LABELS:
                field = f"{task.check.field}.metrics.{bound.metric}"
                check_classes(self._gate, task, bound.metric, scores.shape[1], field)
        return scores if scores.dtype.kind != "b" else scores.astype(np.int8)

    def result(self, metric: Metric) -> Measurement:
        if self._single:
            values, wrong, got = self._single_score(metric)
        else:
            values, wrong, got = self._many_scores(metric)
        with np.errstate(invalid="ignore"):
            value = float(np.mean(values))
        first = _first(wrong) if metric is not Metric.LOSS else _worst(values)
        example = None if first is None else Example(first, int(self._labels[first]), shown(got[first]))
        return Measurement(value, len(values), example)

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
        """One column: numbers of classes if they are integers, else scores of class 1."""
        scores = np.concatenate(self._single)
        if scores.dtype.kind in "iu":
            hits = scores == self._labels
            return hits.astype(np.float64), ~hits, scores
        finite = np.isfinite(scores)
        probabilities = bool(((scores >= 0) & (scores <= 1))[finite].all())
        if metric is Metric.LOSS:
            formula = (
                formulas.binary_cross_entropy_of_probabilities
                if probabilities
                else formulas.binary_cross_entropy_of_logits
            )
            losses = np.where(finite, formula(np.where(finite, scores, 0), self._labels), np.nan)
            return losses, losses > 0, scores
        hits = finite & ((scores >= (0.5 if probabilities else 0.0)) == (self._labels == 1))
        return np.where(finite, hits.astype(np.float64), np.nan), ~hits, scores


class _DistanceMetrics:
    """Matches and distances between the answers and the expected outputs."""

    def __init__(self, gate: Gate, task: EvaluationTask) -> None:
        assert task.expected is not None
        self._gate, self._task, self._expected = gate, task, task.expected
        self._distances = task.measures(NEED_OUTPUTS - {Metric.MATCHES})
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
                f"{list(expected.shape[1:])} for each example, the model's answer has {list(got.shape[1:])}; correct the golden set"
            )
        if got.dtype.kind == "O":
            expected = expected.astype(object)
        axes = tuple(range(1, got.ndim))
        right = np.asarray(
            formulas.close(got, expected, self._gate.absolute_tolerance, self._gate.relative_tolerance).all(axis=axes)
        )
        self._matches.append(right)
        if self._mismatch is None and not right.all():
            self._mismatch = _example(start, int(np.argmin(right)), expected, got)
        if self._distances:
            with np.errstate(invalid="ignore", over="ignore"):
                self._add_distances(start, got, expected, axes)

    def _add_distances(self, start: int, got: Array, expected: Array, axes: tuple[int, ...]) -> None:
        distance = np.abs(formulas.difference(got, expected))
        largest = distance.max(axis=axes, initial=0)
        self._values[Metric.MEAN_ABSOLUTE_ERROR].append(distance.mean(axis=axes))
        self._values[Metric.MEAN_SQUARED_ERROR].append((distance**2).mean(axis=axes))
        self._values[Metric.MAX_ABSOLUTE_ERROR].append(largest)
        comparable = np.where(np.isfinite(largest), largest, np.inf)
        row = int(np.argmax(comparable))
        if comparable[row] > self._worst_error:
            self._worst_error, self._worst = float(comparable[row]), _example(start, row, expected, got)

    def result(self, metric: Metric) -> Measurement:
        if metric is Metric.MATCHES:
            right = np.concatenate(self._matches)
            return Measurement(float(right.mean()), len(right), self._mismatch)
        values = np.concatenate(self._values[metric])
        with np.errstate(invalid="ignore", over="ignore"):
            value = float(values.max() if metric is Metric.MAX_ABSOLUTE_ERROR else values.mean())
        return Measurement(value, len(values), self._worst)


def _example(start: int, row: int, expected: Array, got: Array) -> Example:
    return Example(start + row, shown(expected[row]), shown(got[row]))


def _first(wrong: Array) -> int | None:
    return int(np.argmax(wrong)) if wrong.any() else None


def _worst(values: Array) -> int | None:
    return int(np.argmax(np.where(np.isnan(values), np.inf, values)))
