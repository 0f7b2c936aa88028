"""Slipway's container images and what builds them."""
