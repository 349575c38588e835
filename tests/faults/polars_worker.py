"""A worker that claims its run and writes a table with polars, as real ones do at their end."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tui_datasize.runlog.claim import ATTEMPT_VARIABLE, RunOutcome, acquire
from tui_datasize.runlog.paths import RunPaths
from tui_datasize.runlog.writer import subset_frame, write_table


def main(argv: Sequence[str]) -> int:
    paths = RunPaths(Path(argv[0]))
    claim = acquire(paths, int(os.environ[ATTEMPT_VARIABLE]))
    threads = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    (paths.directory / "threads").write_text(" ".join(threads))
    index = np.arange(100_000)
    frame = subset_frame(index, index % 10, index.astype(np.uint64))
    # Sorting and grouping need polars' pool of threads, which no fork can inherit.
    assert frame.sort("hash", descending=True).group_by("label").len()["len"].to_list() == [10_000] * 10
    write_table(paths.subset, frame)
    claim.finish(RunOutcome.SUCCEEDED)
    return 0
