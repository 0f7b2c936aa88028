"""What the operator costs: its requests, memory, CPU and delay, next to what the control plane needs anyway.

`python -m dev.bench` starts a real API server, etcd, controller-manager and scheduler with simulated nodes, runs the
operator as a process of its own, and prints a table with the bars that it has to keep. docs/benchmarks.md says how to
read it.
"""
