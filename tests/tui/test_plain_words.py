"""A transfer is said in words wherever it is shown; in quotes it is as experiments.toml has it."""

from __future__ import annotations

from tui_datasize.answers.answer import Answer, Axis, Chart, Line, Sentence
from tui_datasize.answers.conditions import _CONDITIONS
from tui_datasize.tui.analysis.answer_lines import answer_lines, draw_answer
from tui_datasize.tui.analysis.panels import subject
from tui_datasize.tui.queue.job_table import _swept
from tui_datasize.tui.widgets.palette import GREY


def test_a_transfer_is_said_in_words_on_the_pages_and_in_the_table_of_jobs():
    lines = [Line("S3T lr=0.1", [0.0, 1.0], [80.0, 90.0], 0), Line("base", [0.0, 1.0], [70.0, 80.0], 1)]
    axis = Axis("transfer condition", names=("base", "FTall"))
    answer = Answer(
        "FTall is the best mean.",
        [Sentence('variant = "FTall"'), Sentence("SallT: 80 %.", "note")],
        figures=[Chart("accuracy", axis, Axis("accuracy, %"), lines)],
    )
    words = "\n".join(line.plain for line in answer_lines(answer, GREY))
    assert words == 'fine-tuned is the best mean.\nvariant = "FTall"\nnote: frozen: 80 %.'
    drawn = draw_answer(answer, 80, 12, GREY).text.plain
    assert "3 layers frozen" in drawn, drawn
    assert "fine-tuned" in drawn
    assert subject("moved", "FT3", "") == "moved · 3 layers fine-tuned"
    widths, values = _swept([("moved", "SallT lr=0.1"), ("moved", "base lr=0.1")])
    assert widths["swept"] == len("frozen") + 2
    assert values["moved", "SallT lr=0.1"] == {"swept": "frozen", "lr": "0.1"}


def test_the_legend_of_conditions_explains_the_words_that_are_seen():
    legend = Sentence(_CONDITIONS, "aside")
    (line,) = answer_lines(Answer("Said.", [legend]), GREY)[1:]
    words = "fine-tuned: all transferred layers go on training. 3 layers frozen: the first 3 of them stay"
    assert line.plain.startswith(words)


def test_a_number_stays_with_its_unit_at_every_width():
    told = Sentence("It would have said 95.3 to 97.3 %; measured: 96.5 %.")
    for width in range(20, 60):
        drawn = draw_answer(Answer("Said.", [told]), width, 9, GREY).text.plain
        assert " ".join(drawn.split()) == told.text
        assert not any(line.lstrip().startswith("%") for line in drawn.split("\n"))
