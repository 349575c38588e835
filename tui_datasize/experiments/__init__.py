"""What to run: specifications, sweeps, subsets and the catalogue. Pure; NumPy at most."""
