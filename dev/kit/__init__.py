"""What the demo, the benchmarks and the tests share: kubectl, an installed operator, models, clients, load, waiting."""
