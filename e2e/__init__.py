"""End-to-end tests: a real cluster, real pods, real gRPC. `make e2e`, or `pytest e2e -n 3` on a cluster that is up."""
