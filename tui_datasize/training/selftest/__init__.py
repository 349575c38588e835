"""Whether this machine computes as it should: `datasize-tui selftest`, one step of it a file."""
