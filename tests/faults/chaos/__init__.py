"""Random kills of everything, and what must hold afterwards; for tests and `python -m benchmarks.chaos`."""
