"""Faults on a real cluster: the operator killed, absent, doubled; the API server in trouble; races between writers.

`make chaos` runs all of it, in a cluster of its own whose operators are processes of the test, so that a kill -9 is exact
and the fault proxy of the integration tests can stand between. `make e2e` runs a short sample.
"""
