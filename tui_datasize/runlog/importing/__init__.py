"""Results of runs that were trained elsewhere: foreign files read, checked, written as run directories."""
