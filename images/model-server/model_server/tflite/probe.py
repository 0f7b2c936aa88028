"""`python -m model_server.tflite.probe FILE`: can this TFLite model be built and run? In a process that may die of the answer.

Ends with 0, or with 1 and the reason as the last line of standard error; a signal means that the file is damaged.
"""

import sys
from pathlib import Path

from model_server.errors import ServingError
from model_server.tflite.model import new_interpreter


def main(path: str) -> int:
    """Build the model and run it once on whatever its inputs hold at first."""
    try:
        content = Path(path).read_bytes()
        interpreter = new_interpreter(content)
    except ServingError as error:
        print(" ".join(error.message.split()), file=sys.stderr)
        return 1
    try:
        interpreter.Invoke()
    except (RuntimeError, ValueError):
        return 0  # zeros, or no strings at all, may well be no proper input
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
