"""What `analyze` prints beside the published law."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tests.fakes import fake_spec, fake_sweep, write_run
from tui_datasize.analysis.curve import METRICS_OFFERED
from tui_datasize.analysis.question import Question
from tui_datasize.analysis.summary import analyse_curves
from tui_datasize.cli.dispatch import main
from tui_datasize.cli.law_lines import print_laws, print_published
from tui_datasize.runlog.reader import RunLog


def printed(project, metric="test_accuracy", **asked) -> str:
    (curve,) = analyse_curves(RunLog(project).runs(), metric, Question(**asked))
    text = io.StringIO()
    console = Console(file=text, width=120)
    print_laws(console, curve)
    print_published(console, curve)
    return text.getvalue()


def test_laws_outlook_and_diagnostics_are_printed(fake_project):
    text = printed(fake_project, target=0.9)
    for part in ("AICc", "pow3", "BNSL1", "it needs 10 sizes", "90 % band", "90.00 %", "weighted"):
        assert part in text
    assert "2,560" in text
    assert "Durbin-Watson" in text
    (head,) = (line for line in text.splitlines() if line.startswith("fitted to"))
    rows = text[text.index(head) :].splitlines()[1:4]
    assert [row[:8] for row in rows] == ["means   ", "weighted", "all runs"]
    # Six means have no omnibus test.
    assert [row.split()[-3] == "-" for row in rows] == [True, True, False]


@pytest.mark.parametrize("metric", METRICS_OFFERED)
def test_every_metric_prints(fake_project, metric):
    assert printed(fake_project, metric)


def of_sizes(project, sizes, seeds):
    for spec in fake_sweep(sizes=sizes, seeds=seeds, subset_seeds=[0]):
        write_run(project, spec)
    return printed(project)


def first_law(text):
    return text[text.index("RMSE") :].splitlines()[1].split()[0]


def test_three_sizes_have_a_default_answer_that_is_named(project):
    text = of_sizes(project, (40, 80, 160), (0, 101, 202))
    assert first_law(text) == "half"
    assert "The default answer is the law half alone" in text
    assert "half (2), loglin (2) and pow2 (2); there are 3 sizes" in text
    assert "residuals are not judged: the line has too few sizes" in text
    assert "nan" not in text


def test_four_sizes_say_which_laws_have_no_aicc_and_why(project):
    text = of_sizes(project, (40, 80, 160, 320), (0, 101, 202))
    assert first_law(text) in ("half", "pow2")
    assert "an average of laws, weighed by AICc: " in text
    assert "takes two sizes more than parameters: pow3 (3) and exp3 (3); there are 4 sizes" in text


def test_without_repeated_runs_the_scatter_is_a_parameter(project):
    text = of_sizes(project, (40, 80, 160, 320), (0,))
    assert "The default answer is the law half alone" in text
    assert "the scatter counted as one: half (3), loglin (3), pow2 (3), pow3 (4) and exp3 (4)" in text


def test_sentences_break_between_words_on_a_terminal(fake_project):
    (curve,) = analyse_curves(RunLog(fake_project).runs(), "test_accuracy", Question(target=0.9))
    text = io.StringIO()
    print_laws(Console(file=text, width=60, force_terminal=True, color_system=None), curve)
    lines = text.getvalue().splitlines()
    (start,) = (row for row, line in enumerate(lines) if line.startswith("Bands of 90 %"))
    assert all(len(line) <= 60 for line in lines[start:])
    assert curve.outlook.words.split() == " ".join(lines[start:]).split()


def test_what_weights_are_is_said(fake_project):
    text = printed(fake_project)
    assert "weighted by 1/SE^2 (the standard error of each mean is drawn towards the scatter of all" in text
    assert "Laws with - for a weight are shown beside it and not averaged." in text
    assert "Laws: none, it is a metric that no law here is fitted to" in printed(fake_project, "test_ece")


def test_one_run_and_one_size_print_a_reason(project):
    write_run(project, fake_spec(train_size=40))
    assert "No forecast: it needs 3 sizes, has 1" in printed(project)


def test_the_test_of_a_law_that_holds_is_told(fake_project, capsys):
    assert main(["analyze", "digits", "--project", str(fake_project.root)]) == 0
    assert "all runs together do not speak against it: lack of fit F(4," in capsys.readouterr().out


def test_a_point_that_sways_the_line_is_named(project):
    for spec in fake_sweep(subset_seeds=[0]):
        write_run(
            project, spec, accuracy=0.3 if spec.train_size == 1280 else 0.5 + 0.0001 * spec.train_size**0.5
        )
    assert "1,280 images sway it" in printed(project)
