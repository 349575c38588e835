"""Whether this machine computes as it should: `datasize-tui selftest`, a function for each step of it."""
