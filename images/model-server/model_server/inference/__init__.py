"""From a request message to a response message: Predict, Classify, Regress and MultiInference."""
