"""Writes what the repository repeats: the CRD, its copy in the chart, the API reference, the schema of the chart's values."""
