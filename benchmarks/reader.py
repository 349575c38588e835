"""Opening a project of many finished runs: from the run directories, and from the compacted cache.

`python -m benchmarks.reader [SIZES ...]` writes fake runs to a temporary directory and prints medians.
"Directories" reads every file and writes the cache, "cache" is a fresh reader afterwards, "again" the
next look of the same reader, and "analysis" a learning curve with its fit. Files are in the page cache.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from tests.fakes import fake_spec, write_run
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.runlog.reader import RunLog
from tui_datasize.stats.summary import analyse_curves

SIZES = (100, 1_000, 10_000)
REPEATS = 5
EVALUATIONS = 12
"""As in the main study; with the training rows, 36 lines in each `metrics.jsonl`."""


def main(arguments: Sequence[str]) -> None:
    """Measure every number of runs and print one row each, in milliseconds."""
    print(f"{'runs':>6} {'directories':>12} {'cache':>9} {'again':>9} {'metrics':>9} {'analysis':>9}   ms")
    for runs in [int(argument) for argument in arguments] or SIZES:
        with tempfile.TemporaryDirectory() as directory:
            project = ProjectPaths(Path(directory))
            _write_runs(project, runs)
            cells = "".join(
                f" {value:{width}.1f}" for value, width in zip(_measure(project), _WIDTHS, strict=True)
            )
            print(f"{runs:6}{cells}", flush=True)


_WIDTHS = (12, 9, 9, 9, 9)


def _write_runs(project: ProjectPaths, runs: int) -> None:
    """Eleven sizes and as many seeds as it takes, in experiments of at most 1,000 runs."""
    for i in range(runs):
        spec = fake_spec(
            f"sweep{i // 1000}", train_size=100 + 100 * (i % 11), seed=i // 11, evaluations=EVALUATIONS
        )
        write_run(project, spec, tables=False)


def _measure(project: ProjectPaths) -> tuple[float, ...]:
    def open_cold() -> None:
        shutil.rmtree(project.cache, ignore_errors=True)
        RunLog(project).runs()

    directories = _median_ms(open_cold, repeats=3)
    cached = _median_ms(lambda: RunLog(project).runs())
    log = RunLog(project)
    runs = log.runs()
    again = _median_ms(log.runs)
    metrics = _median_ms(log.metrics)
    analysis = _median_ms(lambda: analyse_curves(runs, "test_accuracy"))
    return directories, cached, again, metrics, analysis


def _median_ms(action: Callable[[], object], repeats: int = REPEATS) -> float:
    times_s = []
    for _ in range(repeats):
        start_s = time.perf_counter()
        action()
        times_s.append(time.perf_counter() - start_s)
    return 1000 * median(times_s)


if __name__ == "__main__":
    main(sys.argv[1:])
