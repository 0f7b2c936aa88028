"""Matches gate, golden set and model before the first request, so that an error names what does not fit."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from slipway_tools.prober.array_checks import check_batch, check_kind, check_shape, converted, kind
from slipway_tools.prober.gate_errors import GateInvalidError
from slipway_tools.prober.golden_set import GOLDEN, Examples, GoldenSet
from slipway_tools.prober.resolved_gate import (
    AT_LEAST,
    FIELD,
    NEED_LABELS,
    NEED_OUTPUTS,
    Bound,
    Check,
    Gate,
    Metric,
)
from slipway_tools.prober.serving_client import Signature, TensorSpec

_MATCH_ALL = Bound(Metric.MATCHES, AT_LEAST, 1.0)
_CLASS_KINDS = "biuf"
Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class EvaluationTask:
    """What is measured on one output: its bounds, and what the answers are compared with.

    Attributes:
        check: with `output` resolved to a name.
        spec: dtype and shape of the output, from the model.
        expected: [N, …] or None.
        labels: [N] int64 or None.
    """

    check: Check
    output: str
    spec: TensorSpec
    expected: Array | None
    labels: Array | None

    def measures(self, metrics: Iterable[Metric]) -> bool:
        """Return whether any of the metrics has a bound."""
        return any(bound.metric in metrics for bound in self.check.bounds)


@dataclass(frozen=True, slots=True)
class SignaturePlan:
    """Everything that is sent to one signature, in the signature's dtypes, and the tasks on its outputs."""

    signature: str
    count: int
    inputs: Mapping[str, Array]
    dtypes: Mapping[str, str]
    tasks: tuple[EvaluationTask, ...]


def checks_without_model(gate: Gate, golden: GoldenSet) -> tuple[Check, ...]:
    """Return the checks, after refusing a gate that checks nothing or lacks data, as far as that needs no model.

    Raises:
        GateInvalidError: naming the field and the fix.
    """
    checks = gate.checks or tuple(
        Check(FIELD, signature, output, (_MATCH_ALL,))
        for signature, examples in golden.items()
        for output in examples.outputs
    )
    if not checks:
        raise GateInvalidError(
            f"{FIELD}.metrics: the gate checks nothing: there is no bound, and the golden set has no expected outputs; "
            'write a bound like accuracy: ">=0.95", or outputs/NAME into the golden set'
        )
    for check in checks:
        examples = golden.get(check.signature)
        if examples is None:
            raise GateInvalidError(
                f"{check.field}: the golden set has no examples of signature {check.signature!a}, only of "
                f"{_listed(golden)}; write {check.signature}:inputs/NAME, or correct the signature"
            )
        _check_data(check, examples)
    return checks


def _check_data(check: Check, examples: Examples) -> None:
    for bound in check.bounds:
        field = f"{check.field}.metrics.{bound.metric}"
        if bound.metric in NEED_LABELS and not examples.labels:
            raise GateInvalidError(
                f"{field}: the golden set has no labels of signature {check.signature!a}; add labels"
            )
        if bound.metric in NEED_OUTPUTS and not examples.outputs:
            raise GateInvalidError(
                f"{field}: the golden set has no expected outputs of signature {check.signature!a}; add outputs/NAME"
            )


def build_plans(gate: Gate, golden: GoldenSet, model: Mapping[str, Signature]) -> tuple[SignaturePlan, ...]:
    """Return what is to be sent, one plan for each signature.

    Raises:
        GateInvalidError: naming the field and the fix.
    """
    for check in gate.checks:
        _check_signature(check, model)
    checks = checks_without_model(gate, golden)
    inputs: dict[str, Mapping[str, Array]] = {}
    for check in checks:
        _check_signature(check, model)
        if check.signature not in inputs:
            inputs[check.signature] = _inputs(gate, check.signature, golden[check.signature], model[check.signature])
    tasks = [_task(gate, check, model[check.signature], golden[check.signature]) for check in checks]
    _refuse_duplicates([task.check for task in tasks])
    return tuple(
        SignaturePlan(
            name,
            golden[name].count,
            found,
            {key: spec.dtype for key, spec in model[name].inputs.items()},
            tuple(task for task in tasks if task.check.signature == name),
        )
        for name, found in inputs.items()
    )


def _refuse_duplicates(checks: Iterable[Check]) -> None:
    """Refuse two checks of one output, whose name is known only now: either bound could be the one that counts."""
    seen: dict[tuple[str, str | None], str] = {}
    for check in checks:
        pair = (check.signature, check.output)
        if pair in seen:
            raise GateInvalidError(
                f"{check.field}: output {check.output!a} of signature {check.signature!a} is bounded in {seen[pair]} "
                "already; put the metrics of one output into one place"
            )
        seen[pair] = check.field


def _check_signature(check: Check, model: Mapping[str, Signature]) -> None:
    if check.signature not in model:
        raise GateInvalidError(
            f"{check.field}.signature: the model has no signature {check.signature!a}; it has: {_listed(model)}"
        )


def _inputs(gate: Gate, name: str, examples: Examples, signature: Signature) -> Mapping[str, Array]:
    if set(examples.inputs) != set(signature.inputs):
        raise GateInvalidError(
            f"{GOLDEN}: signature {name!a} takes the inputs {_listed(signature.inputs)}, the golden set has "
            f"{_listed(examples.inputs)}; the names have to be the same"
        )
    inputs = {}
    for key, spec in signature.inputs.items():
        where = f"inputs/{key} of signature {name!a}"
        inputs[key] = converted(examples.inputs[key], spec.dtype, untyped=examples.untyped, where=where)
        check_shape(inputs[key], spec, where)
        check_batch(gate.batch_size, examples.count, spec, where)
    return inputs


def _task(gate: Gate, check: Check, signature: Signature, examples: Examples) -> EvaluationTask:
    output = _output(check, signature)
    spec = signature.outputs[output]
    labels = examples.labels.get(output, examples.labels.get(None))
    task = EvaluationTask(replace(check, output=output), output, spec, examples.outputs.get(output), labels)
    for bound in check.bounds:
        _check_bound(gate, task, bound)
    if task.expected is not None:
        where = f"outputs/{output} of signature {check.signature!a}"
        check_kind(task.expected, spec, where)
        check_shape(task.expected, spec, where)
    return task


def _output(check: Check, signature: Signature) -> str:
    if check.output is None and len(signature.outputs) == 1:
        return next(iter(signature.outputs))
    if check.output is None:
        raise GateInvalidError(
            f"{check.field}.output: signature {check.signature!a} has several outputs: {_listed(signature.outputs)}; name one"
        )
    if check.output not in signature.outputs:
        raise GateInvalidError(
            f"{check.field}.output: signature {check.signature!a} has no output {check.output!a}; it has: "
            f"{_listed(signature.outputs)}"
        )
    return check.output


def _check_bound(gate: Gate, task: EvaluationTask, bound: Bound) -> None:
    """Refuse a bound without data for it, or on an output for which it has no meaning."""
    field = f"{task.check.field}.metrics.{bound.metric}"
    letter = kind(task.spec.dtype)
    if bound.metric in NEED_OUTPUTS and task.expected is None:
        raise GateInvalidError(
            f"{field}: the golden set has no outputs/{task.output} of signature {task.check.signature!a}; add it"
        )
    if bound.metric in NEED_LABELS:
        if task.labels is None:
            raise GateInvalidError(
                f"{field}: the golden set has no labels or labels/{task.output} of signature {task.check.signature!a}; add them"
            )
        if letter not in _CLASS_KINDS:
            raise GateInvalidError(
                f"{field}: output {task.output!a} is {task.spec.dtype}; labels need numbers to compare with"
            )
        _check_classes(gate, task, bound, field)
    if bound.metric in NEED_OUTPUTS - {Metric.MATCHES} and letter not in "iufc":
        raise GateInvalidError(
            f"{field}: output {task.output!a} is {task.spec.dtype}, which has no distance; use matches"
        )


def _check_classes(gate: Gate, task: EvaluationTask, bound: Bound, field: str) -> None:
    """Check the labels against the number of classes, if the signature has it."""
    shape = task.spec.shape
    if shape is None or len(shape) == 0:
        return
    classes = shape[-1] if len(shape) > 1 else 1
    if classes > 0:
        check_classes(gate, task, bound.metric, classes, field)


def check_classes(gate: Gate, task: EvaluationTask, metric: Metric, classes: int, field: str) -> None:
    """Refuse labels and a `topK` beyond the number of classes; one column is binary, or the number of a class.

    Raises:
        GateInvalidError: naming the field and the fix.
    """
    assert task.labels is not None
    ids = classes == 1 and kind(task.spec.dtype) in "iu"
    highest = int(task.labels.max())
    if ids and metric is not Metric.ACCURACY:
        raise GateInvalidError(
            f"{field}: output {task.output!a} is the number of a class, not scores; only accuracy has a meaning"
        )
    if metric is Metric.TOP_K_ACCURACY and gate.top_k >= classes:
        raise GateInvalidError(
            f"{FIELD}.topK: the {gate.top_k} highest of {classes} always contain the label; write a topK below the number of classes"
        )
    if not ids and highest >= max(classes, 2):
        row = int(np.argmax(task.labels))
        raise GateInvalidError(
            f"{GOLDEN}: the label of example {row} is {highest}, output {task.output!a} has the classes 0 to "
            f"{max(classes, 2) - 1}; correct the labels"
        )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(ascii(name) for name in sorted(names)) or "none"
