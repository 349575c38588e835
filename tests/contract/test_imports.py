"""What each entry point may load: a deferred import is only deferred if a process proves it."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "torchvision", "torchmetrics", "sklearn", "textual", "plotext", "polars", "scipy", "numpy")
TORCH = ("torch", "torchvision", "torchmetrics", "sklearn")


def loaded_by(code: str) -> set[str]:
    """Top-level packages in sys.modules after running code in a fresh interpreter."""
    script = f"import sys\n{code}\nprint('\\n'.join(sorted({{m.split('.')[0] for m in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_help_loads_nothing_heavy():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "tui_datasize", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "usage: datasize-tui" in done.stdout
    imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert "tui_datasize.cli.parser" in imported
    assert not [name for name in imported if name.split(".")[0] in HEAVY]


@pytest.mark.parametrize(
    ("code", "forbidden"),
    [
        ("import tui_datasize.cli.queueing", ("textual", "plotext", *TORCH)),
        ("import tui_datasize.cli.tables", ("textual", "plotext", *TORCH)),
        ("import tui_datasize.cli.doctor", ("textual", "plotext", *TORCH)),
        ("import tui_datasize.tui.app", ("plotext", "polars", "scipy", "numpy", *TORCH)),
        ("import tui_datasize.jobs.scheduler.main", ("textual", "plotext", "polars", "scipy", *TORCH)),
        ("import tui_datasize.jobs.workers.preloader", ("textual", "plotext", "polars", "scipy", *TORCH)),
        ("import tui_datasize.training.worker", ("textual", "plotext", *TORCH)),
        ("import tui_datasize.runlog.claim", HEAVY),
        ("import tui_datasize.experiments.load", tuple(m for m in HEAVY if m != "numpy")),
        ("import tui_datasize.stats.fits, tui_datasize.stats.overlap", ("textual", "plotext", *TORCH)),
    ],
)
def test_an_entry_point_loads_no_more_than_its_room_allows(code, forbidden):
    assert not loaded_by(code) & set(forbidden)
