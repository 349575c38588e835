"""What it means: pure functions on Polars frames and arrays."""
