"""Measurements, apart from the tests: see README.rst."""
