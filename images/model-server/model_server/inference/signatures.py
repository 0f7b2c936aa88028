"""What a signature must look like for Classify and for Regress, and which tensors it names.

The rules and messages are those of the C++ server's `PreProcessClassification` and `PreProcessRegression`: by default the
names of inputs and outputs decide, not the method name that the signature carries.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from model_server.errors import invalid_argument
from model_server.runtime.servable import DEFAULT_SIGNATURE

CLASSIFY_METHOD = "tensorflow/serving/classify"
REGRESS_METHOD = "tensorflow/serving/regress"
_INPUTS, _CLASSES, _SCORES, _OUTPUTS = "inputs", "classes", "scores", "outputs"


@dataclass(frozen=True, slots=True)
class Classification:
    """Tensor names of a classifying signature; at least one of `classes` and `scores` is there."""

    examples: str
    classes: str | None
    scores: str | None

    @property
    def fetches(self) -> list[str]:
        """The tensors to fetch, classes first."""
        return [name for name in (self.classes, self.scores) if name is not None]


@dataclass(frozen=True, slots=True)
class Regression:
    """Tensor names of a regressing signature."""

    examples: str
    outputs: str

    @property
    def fetches(self) -> list[str]:
        """The tensors to fetch."""
        return [self.outputs]


def classification(signature: Any, *, check_method_name: bool) -> Classification:
    """The tensors of a SignatureDef that can classify; INVALID_ARGUMENT if it cannot."""
    _check_method(signature, CLASSIFY_METHOD, "classification", wanted=check_method_name)
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if len(signature.outputs) not in (1, 2):
        raise invalid_argument(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    if _INPUTS not in signature.inputs:
        raise invalid_argument(f"No classification inputs found in SignatureDef: {signature}")
    classes, scores = _name(signature.outputs, _CLASSES), _name(signature.outputs, _SCORES)
    if classes is None and scores is None:
        raise invalid_argument(
            f'Expected classification signature outputs to contain at least one of "{_CLASSES}" or "{_SCORES}". '
            f"Signature was: {signature}"
        )
    return Classification(signature.inputs[_INPUTS].name, classes, scores)


def regression(signature: Any, *, check_method_name: bool) -> Regression:
    """The tensors of a SignatureDef that can regress; INVALID_ARGUMENT if it cannot."""
    _check_method(signature, REGRESS_METHOD, "regression", wanted=check_method_name)
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if len(signature.outputs) != 1:
        raise invalid_argument("Expected one output Tensor.")
    if _INPUTS not in signature.inputs:
        raise invalid_argument(f"No regression inputs found in SignatureDef: {signature}")
    if _OUTPUTS not in signature.outputs:
        raise invalid_argument(f"No regression outputs found in SignatureDef: {signature}")
    return Regression(signature.inputs[_INPUTS].name, signature.outputs[_OUTPUTS].name)


def named(signatures: Mapping[str, Any], name: str) -> Any:
    """The SignatureDef called `name` ("" is the default one), worded as Classify and Regress word its absence."""
    found = signatures.get(name or DEFAULT_SIGNATURE)
    if found is None:
        raise invalid_argument(f"No signature was found with the name: {name or DEFAULT_SIGNATURE}")
    return found


def _name(tensors: Mapping[str, Any], alias: str) -> str | None:
    # Looking an alias up in a protobuf map would add it.
    return tensors[alias].name if alias in tensors else None


def _check_method(signature: Any, method: str, kind: str, *, wanted: bool) -> None:
    if wanted and signature.method_name != method:
        raise invalid_argument(f"Expected {kind} signature method_name to be {method}. Was: {signature.method_name}")
