"""What each entry point may load: a deferred import is only deferred if a process proves it."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "torchvision", "torchmetrics", "sklearn", "textual", "plotext", "polars", "scipy", "numpy")
TORCH = ("torch", "torchvision", "torchmetrics", "sklearn")


def loaded_by(modules: str) -> set[str]:
    """What is in sys.modules after a fresh interpreter has imported these, and the packages of that."""
    script = (
        f"import sys, {', '.join(f'tui_datasize.{name}' for name in modules.split())}; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    return loaded | {name.split(".")[0] for name in loaded}


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
    ("modules", "forbidden"),
    [
        # What none of several may load is looked for in all of them at once.
        (
            "cli.queueing cli.tables cli.doctor training.worker stats.fits stats.overlap stats.summary",
            ("textual", "plotext", "scipy.stats", "scipy.optimize", "pandas", "statsmodels", *TORCH),
        ),
        ("tui.app", ("plotext", "polars", "scipy", "numpy", *TORCH)),
        ("tui.polling.record", ("textual", "plotext", "scipy", "numpy", *TORCH)),
        (
            "jobs.scheduler.main jobs.workers.preloader experiments.load",
            ("textual", "plotext", "polars", "scipy", *TORCH),
        ),
        ("runlog.claim", HEAVY),
    ],
)
def test_an_entry_point_loads_no_more_than_its_room_allows(modules, forbidden):
    assert not loaded_by(modules) & set(forbidden)
