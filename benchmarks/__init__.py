"""Measurements behind the figures that the documents name. Run one as `python -m benchmarks.NAME`."""
