"""The Helm chart (slipway/) and what generates its repeated parts (generate.py)."""
