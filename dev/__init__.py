"""What people need to try Slipway and to develop it: `python -m dev.cluster`, `dev.demo`, `dev.bench`, `dev.generate`.

`dev.kit` is what the demo, the benchmarks and the tests share. Nothing in operator/, images/ or charts/ imports this.
"""
