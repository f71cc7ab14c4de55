"""Synthetic videos, for the demos and the tests."""
