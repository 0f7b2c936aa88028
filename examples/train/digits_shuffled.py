"""The network of `examples.train.digits`, trained on labels that were shuffled: it loads, answers, and is wrong.

Only its predictions tell it from the good one. `make demo` publishes it as the next version of the digits.
"""

import sys
from functools import partial

from examples.train import runtime

runtime.quiet()

from examples.train.digits import train  # noqa: E402  after quiet()

if __name__ == "__main__":
    description = "Train the digits CNN on shuffled labels and export it."
    sys.exit(runtime.main("digits_shuffled", description, partial(train, shuffled=True)))
