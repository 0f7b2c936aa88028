"""A split of a data set, and how it is fed to training."""

from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from numpy.typing import NDArray

from examples.train.runtime import SEED

Array = NDArray[Any]


@dataclass(frozen=True)
class Split:
    """Inputs and targets, first axis the examples."""

    inputs: Array
    targets: Array

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.targets)


def batches(split: Split, size: int) -> Any:
    """Return a tf.data.Dataset that goes through the split once, in another order each time, always the same orders."""
    return tf.data.Dataset.from_tensor_slices((split.inputs, split.targets)).shuffle(len(split), seed=SEED).batch(size)
