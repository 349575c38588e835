"""Imported by every interpreter of a round as it starts: it is watched, and broken where asked for."""

from tests.faults.chaos import disk, mutants

disk.watch()
mutants.apply()
