"""What people start with: Flask, a route, Keras' `model.predict` on JSON. `python -m dev.bench.model_server.flask_server FILE PORT`.

The baseline of the benchmark, and nothing to copy.
"""

import sys

from examples.train import runtime

runtime.quiet()

import keras  # noqa: E402  after quiet()
import numpy as np  # noqa: E402
from flask import Flask, jsonify, request  # noqa: E402
from flask.typing import ResponseReturnValue  # noqa: E402


def application(file: str) -> Flask:
    """Return the application that serves the Keras model in `file`."""
    model = keras.models.load_model(file)
    app = Flask(__name__)

    @app.post("/predict")
    def predict() -> ResponseReturnValue:
        instances = np.array(request.get_json()["instances"], dtype=np.float32)
        return jsonify(predictions=model.predict(instances, verbose=0).tolist())

    return app


if __name__ == "__main__":
    application(sys.argv[1]).run(host="127.0.0.1", port=int(sys.argv[2]), threaded=True)
