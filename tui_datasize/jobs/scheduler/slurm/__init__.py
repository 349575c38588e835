"""Runs that Slurm makes: handing them over, looking at them, and what comes of them."""
