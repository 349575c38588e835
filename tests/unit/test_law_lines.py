"""What `analyze` prints beside the published law."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tests.fakes import fake_spec, fake_sweep, write_run
from tui_datasize.analysis.curve import METRICS_OFFERED
from tui_datasize.analysis.summary import Question, analyse_curves
from tui_datasize.cli.law_lines import diagnostic_lines, print_laws
from tui_datasize.runlog.reader import RunLog


def printed(project, metric="test_accuracy", **asked) -> str:
    (curve,) = analyse_curves(RunLog(project).runs(), metric, Question(**asked))
    text = io.StringIO()
    print_laws(Console(file=text, width=120), curve)
    return text.getvalue() + "\n".join(diagnostic_lines(curve))


def test_laws_outlook_and_diagnostics_are_printed(fake_project):
    text = printed(fake_project, target=0.9)
    for part in ("AICc", "pow3", "BNSL1", "it needs 10 sizes", "90 % band", "90.00 %", "weighted"):
        assert part in text
    assert "2,560" in text
    assert "Durbin-Watson" in text


@pytest.mark.parametrize("metric", METRICS_OFFERED)
def test_every_metric_prints(fake_project, metric):
    assert printed(fake_project, metric)


def test_one_run_and_one_size_print_a_reason(project):
    write_run(project, fake_spec(train_size=40))
    assert "no extrapolation: it needs 3 sizes, has 1" in printed(project)


def test_a_point_that_sways_the_line_is_named(project):
    for spec in fake_sweep(subset_seeds=[0]):
        write_run(
            project, spec, accuracy=0.3 if spec.train_size == 1280 else 0.5 + 0.0001 * spec.train_size**0.5
        )
    assert "1,280 images sway it" in printed(project)
