"""What Slurm answers, or does not: limits, outages, other people's jobs, and answers that are torn."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.slurm_mock import MockTask
from tests.unit.slurm_desk import Cluster, opened_cluster, specs
from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.jobs.scheduler.slurm import executor as executor_module
from tui_datasize.jobs.scheduler.slurm.calls import FORMAT, Reply, SlurmCommands, read_squeue, squeue
from tui_datasize.jobs.scheduler.slurm.words import limit
from tui_datasize.runlog.claim import RunOutcome, take_lock

QUEUED, RUNNING, HELD = JobState.QUEUED, JobState.RUNNING, JobState.HELD
SUCCEEDED, CANCELLED = JobState.SUCCEEDED, JobState.CANCELLED


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    with opened_cluster(tmp_path, monkeypatch) as cluster:
        yield cluster


def test_a_cancel_that_meets_a_worker_just_beginning_ends_in_a_cancelled_run(cluster: Cluster) -> None:
    (spec,) = specs(1)
    cluster.enqueue(spec)
    cluster.round()
    cluster.begin()
    # Nobody has looked since.
    assert cluster.job(spec).state is QUEUED
    assert cluster.queue.ask(CommandKind.CANCEL, spec) == ["is being cancelled"]
    cluster.round()
    task = cluster.slurm.tasks[0]
    assert (cluster.job(spec).state, cluster.job(spec).attempts, task.signals) == (RUNNING, 1, 1)
    cluster.end(RunOutcome.INTERRUPTED, "asked to leave", state="CANCELLED")
    cluster.round(3)
    assert cluster.states() == [CANCELLED]
    assert len(cluster.asked("sbatch")) == 1
    cluster.queue.ask(CommandKind.RETRY, spec)
    cluster.round(2)
    cluster.begin()
    cluster.end()
    cluster.round()
    assert cluster.states() == [SUCCEEDED]


@pytest.mark.parametrize("is_namesake", [True, False])
def test_a_cancel_reaches_the_worker_of_another_submission(cluster: Cluster, is_namesake: bool) -> None:
    (spec,) = specs(1)
    cluster.enqueue(spec)
    cluster.round(2)
    (own,) = cluster.slurm.tasks
    other = MockTask(own.array if is_namesake else "ds-other", "900", 0, own.directory, 1, state="RUNNING")
    cluster.slurm.tasks.append(other)
    cluster.work(other)
    # Ours finds the run claimed, and leaves it alone.
    cluster.begin()
    cluster.round(2)
    assert (cluster.states(), own.state, other.signals) == ([RUNNING], "COMPLETED", 0)
    cluster.queue.ask(CommandKind.CANCEL, spec)
    cluster.round()
    assert other.signals == 1
    cluster.end(RunOutcome.INTERRUPTED, "asked to leave", state="CANCELLED")
    cluster.round(2)
    assert cluster.states() == [CANCELLED]
    assert not cluster.store.cluster.has_work()


def test_a_held_run_whose_task_others_cancelled_is_handed_over_anew(cluster: Cluster) -> None:
    (spec,) = specs(1)
    cluster.enqueue(spec)
    cluster.round(2)
    cluster.queue.ask(CommandKind.HOLD, spec)
    cluster.round()
    cluster.slurm.tasks[0].state = "CANCELLED"
    cluster.round(2)
    cluster.queue.ask(CommandKind.RELEASE, spec)
    cluster.round(2)
    assert [task.state for task in cluster.slurm.tasks] == ["CANCELLED", "PENDING"]
    assert (cluster.job(spec).attempts, cluster.fault("runs")) == (0, "")


def test_a_cancel_that_is_refused_changes_nothing(cluster: Cluster) -> None:
    """Of a run of this machine: its worker is just leaving it."""
    (spec,) = specs(1)
    cluster.queue.enqueue(spec)
    paths = cluster.paths(spec)
    paths.directory.mkdir(parents=True)
    lock = take_lock(paths, patience_s=0.0)
    assert lock is not None
    assert cluster.queue.ask(CommandKind.CANCEL, spec) == ["-a worker is just leaving it; try again"]
    assert (cluster.job(spec).state, cluster.job(spec).attempts) == (QUEUED, 0)
    os.close(lock)
    assert cluster.queue.ask(CommandKind.CANCEL, spec) == ["cancelled"]


def test_runs_begin_and_end_while_slurm_does_not_answer(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor_module, "_LOOKS_UNANSWERED", 2)
    cluster.enqueue(*specs(7))
    cluster.round()
    cluster.slurm.faults["squeue"] = ["down"] * 12
    cluster.begin(5)
    cluster.round(4)
    assert cluster.states() == [RUNNING] * 5 + [QUEUED] * 2
    cluster.end()
    cluster.round(4)
    assert cluster.states() == [SUCCEEDED] * 5 + [QUEUED] * 2
    # And both at once.
    cluster.begin()
    cluster.end()
    cluster.round(4)
    assert cluster.states() == [SUCCEEDED] * 7
    assert "Slurm does not answer" in cluster.fault("answer")
    cluster.round()
    assert (cluster.fault("answer"), cluster.store.cluster.has_work()) == ("", False)


REFUSALS = (
    ("QOSMaxSubmitJobPerUserLimit", "Job violates accounting/QOS policy", "your account may have no more"),
    ("AssocMaxSubmitJobLimit", "Job violates accounting/QOS policy", "your account may have no more jobs"),
    ("", "Invalid job array specification", "an array of 4 runs is too long for it"),
    ("", "Slurm job queue full, sleeping and retrying", "it has as many jobs as it takes"),
)


@pytest.mark.parametrize(("name", "said", "expected"), REFUSALS)
def test_limits_are_told_in_plain_words_and_the_rest_follows(
    cluster: Cluster, name: str, said: str, expected: str
) -> None:
    err = f"sbatch: error: {name}\nsbatch: error: Batch job submission failed: {said}"
    # One that means to wait is stopped, and has no status.
    status = None if "retrying" in said else 1
    cluster.slurm.submit_limit = 3
    cluster.slurm.full = Reply(status, "", err)
    cluster.enqueue(*specs(4))
    cluster.round(2)
    assert f"Slurm takes no more runs now: {expected}" in cluster.fault("submit")
    assert said in cluster.fault("submit")
    assert cluster.fault("answer") == ""
    cluster.round(2)
    assert len(cluster.slurm.tasks) == 2
    assert cluster.states() == [QUEUED] * 4
    for _ in range(6):
        cluster.begin()
        cluster.end()
        cluster.round(2)
    assert (cluster.states(), cluster.successes()) == ([SUCCEEDED] * 4, 4)
    assert cluster.fault("submit") == ""


def test_a_refusal_of_something_else_is_no_limit() -> None:
    assert limit("Batch job submission failed: Invalid partition name specified", 4) == ""
    assert limit("Socket timed out on send/recv operation", 4) == ""


def test_an_sbatch_that_means_to_wait_is_stopped_at_once(cluster: Cluster, tmp_path: Path) -> None:
    wait = "import sys, time; print('sbatch: error: Slurm temporarily unable to accept job, sleeping and "
    wait += "retrying.', file=sys.stderr, flush=True); time.sleep(1000)"
    call = SlurmCommands().start([sys.executable, "-c", wait])
    while (reply := call.poll()) is None:
        pass
    assert reply.status is None
    assert limit(reply.problem, 1) == "it has as many jobs as it takes, of all users together"


def test_variables_that_leave_jobs_out_of_answers_do_not_reach_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"SQUEUE_PARTITION", "SCANCEL_USER", "SINFO_PARTITION", "SBATCH_CLUSTERS", "SLURM_JOB_ID"}
    kept = {"SBATCH_QOS", "SLURM_CONF"}
    for name in given | kept:
        monkeypatch.setenv(name, "x")
    call = SlurmCommands().start([sys.executable, "-c", "import os; print(*os.environ)"])
    while (reply := call.poll()) is None:
        pass
    assert {*reply.out.split()} & (given | kept) == kept


_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
_ROWS = st.lists(
    st.tuples(
        st.sampled_from(["7", "8_1", "9_12", "10+1", "11_[3-5%2]"]),
        st.sampled_from(["RUNNING", "PENDING", "COMPLETED", "SPECIAL_EXIT"]),
        st.sampled_from(["N/A", "2026-11-30T14:20:00"]),
        st.sampled_from(["", "n1", "gpu[1-3,7]"]),
        # What would look like the end of a line is no name that anybody gives.
        _TEXT.filter(lambda text: "|.\n" not in text),
        st.sampled_from(["None", "Resources", "(ReqNodeNotAvail, UnavailableNodes:n[1-3])", "a|b"]),
    ),
    max_size=6,
)
_OURS = ("4711_3", "PENDING", "N/A", "", "ds-0123456789abcdef0123", "Resources")


def _printed(rows: list[tuple[str, ...]]) -> str:
    fields = FORMAT.split("|")
    assert fields == ["%i", "%T", "%S", "%N", "%j", "%r", "."]
    return "".join("|".join((*row, ".")) + "\n" for row in rows)


@given(_ROWS, st.integers(0, 6), st.data())
def test_whatever_jobs_are_called_ours_are_found(
    others: list[tuple[str, ...]], at: int, data: st.DataObject
) -> None:
    out = _printed([*others[:at], _OURS, *others[at:]])
    (ours,) = (task for task in read_squeue(out) if task.name == "4711_3")
    assert (ours.array, ours.state, ours.reason) == ("ds-0123456789abcdef0123", "PENDING", "Resources")
    # Of a torn answer nothing is read that was not said.
    torn = out[: data.draw(st.integers(0, len(out) - 1))]
    try:
        read = read_squeue(torn)
    except ValueError:
        return
    assert read == read_squeue(out)[: len(read)]
    assert torn == "" or torn.endswith("|.\n")


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("PENDING", "launch failed requeued held"),
        ("REQUEUE_HOLD", "launch_failure_limit_exceeded_requeued_held"),
        ("PENDING", "JobHoldMaxRequeue"),
    ],
)
def test_what_slurm_holds_since_it_could_not_start_it_is_released(
    cluster: Cluster, state: str, reason: str
) -> None:
    failed, held = specs(2)
    cluster.enqueue(failed, held)
    cluster.round()
    cluster.queue.ask(CommandKind.HOLD, held)
    for task in cluster.slurm.tasks:
        task.state, task.reason = state, reason
    cluster.round()
    assert cluster.job(failed).reason.endswith("; it is released to be tried again")
    cluster.round()
    assert [words[1:] for words in cluster.asked("scontrol")[1:]] == [["uhold", "1_1"], ["release", "1_0"]]
    assert cluster.job(failed).reason == "waits for a free node"
    assert cluster.slurm.tasks[0].reason == "Resources"


def test_what_is_drained_begins_nothing_until_it_goes_on(cluster: Cluster) -> None:
    given, held, late = specs(3)
    cluster.enqueue(given, held)
    cluster.round()
    cluster.slurm.faults["sbatch"] = ["down"]
    cluster.enqueue(late)
    cluster.round()
    cluster.queue.ask(CommandKind.HOLD, held)
    cluster.store.settings.write(draining=True)
    cluster.round(2)
    cluster.begin()
    cluster.round()
    assert (cluster.states(), len(cluster.asked("sbatch"))) == ([QUEUED, HELD, QUEUED], 2)
    cluster.store.settings.write(draining=False)
    cluster.round(2)
    cluster.begin()
    cluster.round()
    assert cluster.states() == [RUNNING, HELD, RUNNING]


def test_a_script_that_is_too_long_is_made_shorter(cluster: Cluster) -> None:
    cluster.enqueue(*specs(8))
    take = cluster.slurm._sbatch
    problem = "Batch job submission failed: Pathname of a file, directory or other parameter too long"

    def refuse_many(words: Sequence[str], text: str) -> Reply:
        return (
            Reply(1, "", f"sbatch: error: {problem}\n") if text.count("letters-n") > 4 else take(words, text)
        )

    cluster.slurm._sbatch = refuse_many  # type: ignore[method-assign]
    cluster.round(8)
    assert len(cluster.slurm.tasks) == 8
    assert cluster.sizes()[:2] == ["0-7", "0-3"]


def test_more_arrays_than_an_argument_holds_are_asked_for_without_their_names() -> None:
    names = [f"ds-{number:020d}" for number in range(2001)]
    assert max(map(len, squeue(names[:2000]))) < 2**17
    assert "--me" in squeue(names)
    assert "--me" in squeue([])


def test_a_rebuilt_queue_is_not_misled_by_a_job_with_a_strange_name(cluster: Cluster) -> None:
    (spec,) = specs(1)
    cluster.enqueue(spec)
    cluster.round()
    cluster.begin()
    cluster.round()
    cluster.store._run("DELETE FROM handed")
    cluster.store._run("DELETE FROM arrays")
    stranger = MockTask("a|b\nc|d", "99", 0, "/", 1)
    cluster.slurm.tasks.append(stranger)
    cluster.end()
    cluster.round(2)
    assert "--me" in cluster.asked("squeue")[-1]
    assert (cluster.states(), cluster.fault("answer"), stranger.signals) == ([SUCCEEDED], "", 0)
