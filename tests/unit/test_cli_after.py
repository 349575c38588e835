"""`--after`: how the runs to wait for are named, and that no run waits for itself."""

import pytest

from tests.unit.test_cli_commands import apply_all, change, project
from tui_datasize.cli.dispatch import main
from tui_datasize.cli.parser import build_parser
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.queue.state import JobState

__all__ = ["project"]


@pytest.mark.parametrize("option", ["--cancelled", "--force"])
def test_cancelled_runs_wait_for_the_others_of_their_experiment_and_not_for_each_other(
    project, capsys, option
):
    assert main(["queue", "small"]) == 0
    apply_all(project)
    run_ids = [job.run_id for job in QueueClient(project).jobs()]
    cancelled = [run_id for run_id in run_ids if "-n40-" in run_id]
    others = [run_id for run_id in run_ids if "-n80-" in run_id]
    for run_id in cancelled:
        change(project, run_id, JobState.CANCELLED)
    assert main(["queue", "small", "--sizes", "40", option, "--after", "small"]) == 0
    apply_all(project)
    after = {job.run_id: job.after for job in QueueClient(project).jobs()}
    assert after == dict.fromkeys(cancelled, tuple(sorted(others))) | dict.fromkeys(others, ())


def test_runs_that_are_all_queued_afresh_do_not_wait_for_themselves(project):
    assert main(["queue", "small"]) == 0
    assert main(["queue", "small", "--force", "--after", "small"]) == 0
    apply_all(project)
    assert [(job.state, job.after) for job in QueueClient(project).jobs()] == [(JobState.QUEUED, ())] * 4


@pytest.mark.parametrize("terms", [["one", "two"], ["one,two"], ["one,", "two"], ["one", "--after", "two"]])
def test_jobs_to_wait_for_are_named_with_spaces_or_commas_or_one_by_one(terms):
    for words in (["queue", "small", "--after", *terms], ["run", "small", "--seeds", "0", "--after", *terms]):
        arguments = build_parser().parse_args(words)
        assert (arguments.experiment, arguments.after) == ("small", ("one", "two"))
    assert build_parser().parse_args(["queue", "small"]).after == ()
    assert build_parser().parse_args(["queue", "--after", "one", "--force", "small"]).after == ("one",)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["--after", "big", "small"],
            "--after takes every word after it, 'small' too: write EXPERIMENT first",
        ),
        (["small", "--after", ","], "--after: expected a run or an experiment, got ','"),
    ],
)
def test_an_experiment_that_is_taken_for_a_job_to_wait_for_is_told(project, capsys, words, told):
    with pytest.raises(SystemExit) as left:
        main(["queue", *words])
    assert left.value.code == 2
    assert told in capsys.readouterr().err
