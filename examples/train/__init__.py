"""Small models trained on real data that ships inside scikit-learn, exported as SavedModels that a server can load.

Each program trains, evaluates on examples that training never saw, exports, and leaves what a client needs to check
the served model beside it:

    DIR/VERSION/       the SavedModel, with warm-up requests and the golden set
    DIR/golden.npz     the golden set: inputs of the test split and what is right for them
    DIR/metrics.json   what was measured on the test split
    DIR/test.npz       the test split itself
"""
