"""Where the runs of a cluster lie, what their tasks are, and who asks for them."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest

from tests.fakes import fake_spec
from tests.slurm_mock import MockTask
from tests.unit.slurm_desk import Cluster, opened_cluster, specs
from tui_datasize.errors import ConfigError
from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.requests import Acknowledgement, Enqueue, Outcome, QueueTerms, outcome_of
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.jobs.scheduler.dispatch import Dispatcher
from tui_datasize.jobs.scheduler.lock import SchedulerLock
from tui_datasize.jobs.scheduler.slurm.calls import SlurmCommands
from tui_datasize.jobs.scheduler.slurm.executor import SlurmExecutor
from tui_datasize.jobs.scheduler.superseded import supersede
from tui_datasize.runlog.claim import (
    RunOutcome,
)

RUNNING = JobState.RUNNING
SUCCEEDED, CANCELLED = JobState.SUCCEEDED, JobState.CANCELLED


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    with opened_cluster(tmp_path, monkeypatch) as cluster:
        yield cluster


def test_runs_lie_in_the_directory_that_nodes_see(cluster: Cluster, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    cluster.say(f"shared = '{shared}'", "setup = 'module load cuda'")
    (spec,) = specs(1)
    cluster.enqueue(spec)
    cluster.round()
    assert (cluster.project.runs / "letters").readlink() == shared / "letters"
    assert cluster.slurm.tasks[0].directory == str(shared / "letters" / spec.run_id)
    assert f"--output={shared}/.cluster/" in " ".join(cluster.asked("sbatch")[0])
    assert "\nmodule load cuda\n" in cluster.slurm.script
    # Runs that are here already do not move by themselves.
    other = fake_spec("digits")
    cluster.paths(other).directory.mkdir(parents=True)
    outcome = cluster.queue.client.request(Enqueue((other,), terms=QueueTerms(on="slurm")))
    assert f"is not in {shared}, where the nodes look" in outcome.sentence


def test_without_a_table_or_slurm_nothing_is_queued_for_it(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(ConfigError, match="sbatch is not installed here"):
        cluster.enqueue(*specs(1))
    cluster.project.experiments.write_text("")
    with pytest.raises(ConfigError, match="there is no cluster"):
        cluster.enqueue(*specs(1))
    assert cluster.states() == []


def test_commands_of_slurm_are_processes_that_nobody_waits_for(cluster: Cluster, tmp_path: Path) -> None:
    state, commands = tmp_path / "slurm.json", tmp_path / "bin"
    for name in ("sbatch", "squeue", "scontrol", "scancel"):
        call = shlex.join([sys.executable, "-P", "-m", "tests.slurm_mock", str(state), name])
        root = shlex.quote(str(Path(__file__).parents[2]))
        (commands / name).write_text(f'#!/bin/sh\nPYTHONPATH={root} exec {call} "$@"\n')
        (commands / name).chmod(0o755)
    cluster.executor = SlurmExecutor(cluster.store, cluster.project, ["worker"], SlurmCommands(), 1e9)
    cluster.enqueue(*specs(2))
    cluster.round()
    assert [*cluster.store.cluster.arrays().values()] == ["1"]
    (commands / "squeue").write_text("#!/bin/sh\necho squeue: error: no controller >&2; exit 1\n")
    cluster.round()
    assert "Slurm does not answer: no controller" in cluster.fault("answer")


def test_the_script_makes_its_task_the_worker_of_its_run(cluster: Cluster, tmp_path: Path) -> None:
    import subprocess

    cluster.executor._command = ["sh", "-c", "env; echo $$ $0"]
    cluster.enqueue(*specs(2), data_dir=tmp_path / "with 'quotes'")
    cluster.round()
    environment = {"PATH": os.environ["PATH"], "SLURM_ARRAY_TASK_ID": "1", "DATASIZE_ATTEMPT": "7"}
    shell = subprocess.Popen(["bash", "-c", cluster.slurm.script], env=environment)
    assert shell.wait() == 0
    said = (Path(cluster.slurm.tasks[1].directory) / "stdout.log").read_text().splitlines()
    name = cluster.slurm.tasks[1].array
    assert said[-1] == f"{shell.pid} {cluster.slurm.tasks[1].directory}"
    assert {"DATASIZE_FIRST_ATTEMPT=1", f"DATASIZE_TAG={name}-1", "CUDA_VISIBLE_DEVICES="} <= {*said}
    assert f"DATASIZE_DATA={tmp_path}/with 'quotes'" in said
    assert not [line for line in said if line.startswith("DATASIZE_ATTEMPT")]


def test_what_setup_calls_its_variables_is_its_own_affair(cluster: Cluster) -> None:
    import subprocess

    cluster.executor._command = [
        "sh",
        "-c",
        'kill -s USR2 $$; echo "$PWD $DATASIZE_DATA $DATASIZE_FIRST_ATTEMPT"',
    ]
    # A time that is nearly up is told while it goes on, and nobody listens yet.
    cluster.say("setup = 'kill -s USR2 $$; runs=/tmp; firsts=9; data=/scratch; run=/; name=x'")
    cluster.enqueue(*specs(2))
    cluster.round()
    for task in cluster.slurm.tasks:
        environment = {"PATH": os.environ["PATH"], "SLURM_ARRAY_TASK_ID": str(task.number)}
        assert subprocess.run(["bash", "-c", cluster.slurm.script], env=environment).returncode == 0
        assert (Path(task.directory) / "stdout.log").read_text() == f"{task.directory}  1\n"


def test_what_a_task_says_is_told_of_its_own_run_alone(cluster: Cluster, tmp_path: Path) -> None:
    shared = tmp_path / "100%a"
    shared.mkdir()
    cluster.say(f"shared = '{shared}'")
    cluster.enqueue(*specs(2))
    cluster.round()
    (told,) = (word for word in cluster.asked("sbatch")[0] if word.startswith("--output="))
    name = told.removeprefix(f"--output={tmp_path}/100%%a/.cluster/")
    assert name == f"{cluster.slurm.tasks[0].array}-%a.log"
    (shared / ".cluster" / name.replace("%a", "1")).write_text("no such module\n")
    cluster.slurm.begin(lambda _: None)
    for task in cluster.slurm.tasks:
        task.state = "FAILED"
    cluster.round()
    reasons = [job.reason for job in cluster.queue.client.jobs()]
    assert [": no such module" in reason for reason in reasons] == [False, True], reasons


def test_a_forced_run_begins_afresh(cluster: Cluster) -> None:
    (spec,) = specs(1)
    cluster.enqueue(spec)
    cluster.round()
    cluster.enqueue(spec, force=True)
    cluster.round(2)
    cluster.begin()
    cluster.end()
    cluster.round(2)
    assert (cluster.states(), cluster.successes()) == ([SUCCEEDED], 1)


def test_a_queue_that_is_rebuilt_finds_its_running_jobs_and_cancels_them(cluster: Cluster) -> None:
    (spec,) = specs(1)
    cluster.enqueue(spec)
    cluster.round()
    cluster.begin()
    cluster.round()
    cluster.store._run("DELETE FROM handed")
    cluster.store._run("DELETE FROM arrays")
    stranger = MockTask("theirs", "99", 0, "/", 1)
    cluster.slurm.tasks.append(stranger)
    cluster.round()
    assert "--me" in cluster.asked("squeue")[-1]
    assert cluster.job(spec).state is RUNNING
    cluster.queue.ask(CommandKind.CANCEL, spec)
    cluster.round()
    assert (cluster.slurm.tasks[0].signals, stranger.signals) == (1, 0)
    cluster.end(RunOutcome.INTERRUPTED, "asked to leave", state="CANCELLED")
    cluster.round()
    assert cluster.states() == [CANCELLED]


@pytest.mark.parametrize("text", ["", "[cluster]\nmem = 'x'\n"])
@pytest.mark.parametrize("is_new", [False, True])
def test_runs_end_and_are_cancelled_while_the_file_has_no_cluster(
    cluster: Cluster, text: str, is_new: bool
) -> None:
    done, unwanted, waits = specs(3)
    cluster.enqueue(done, unwanted)
    cluster.round()
    cluster.begin()
    cluster.enqueue(waits)
    cluster.project.experiments.write_text(text)
    if is_new:
        cluster.other_executor()
    cluster.round()
    cluster.queue.ask(CommandKind.CANCEL, unwanted)
    cluster.round()
    assert cluster.task_of(cluster.paths(unwanted)).signals == 1
    cluster.end()
    cluster.round()
    states = [cluster.job(spec).state for spec in (done, unwanted, waits)]
    assert states == [JobState.SUCCEEDED, JobState.SUCCEEDED, JobState.QUEUED]
    assert cluster.fault("file").endswith("nothing is handed over until that is mended")
    assert len(cluster.asked("sbatch")) == 1
    cluster.say()
    cluster.round()
    assert (cluster.fault("file"), len(cluster.asked("sbatch"))) == ("", 2)


def test_faults_of_a_cluster_that_nobody_needs_any_more_are_over(cluster: Cluster) -> None:
    (spec,) = specs(1)
    cluster.enqueue(spec)
    cluster.slurm.faults["scontrol"] = ["down"]
    cluster.round()
    assert cluster.fault("answer")
    cluster.queue.ask(CommandKind.CANCEL, spec)
    cluster.round()
    assert cluster.fault("answer") == ""


def test_without_runs_of_a_cluster_nothing_of_it_is_imported() -> None:
    import subprocess

    code = "import sys, tui_datasize.jobs.scheduler.main; print([m for m in sys.modules if 'slurm' in m])"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("own", "options", "expected"),
    [
        ("", [], ""),
        ("on = 'slurm'", [], "slurm"),
        ("on = 'slurm'", ["--on", "local"], ""),
        ("", ["--on", "slurm"], "slurm"),
    ],
)
def test_an_option_wins_over_the_place_of_the_experiment(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, own: str, options: list[str], expected: str
) -> None:
    from tui_datasize.cli.dispatch import main

    experiment = "dataset = 'digits'\nmodel = 'mlp'\nsizes = [40]\nbudget = { updates = 10 }"
    cluster.say("[experiments.small]", experiment, own)
    monkeypatch.setattr("tui_datasize.jobs.client.QueueClient.answer_to", lambda _self, *asked: _done(*asked))
    assert main(["queue", "small", *options, "--project", str(cluster.root)]) == 0
    (job,) = cluster.queue.client.jobs()
    assert job.place == expected


def _done(command: Enqueue, acknowledgement: Acknowledgement) -> Outcome:
    return outcome_of(command, acknowledgement, [])


def test_the_record_has_runs_of_a_directory_that_nodes_share(cluster: Cluster, tmp_path: Path) -> None:
    from tests.fakes import write_run
    from tui_datasize.runlog.reader import RunLog

    shared, log = tmp_path / "shared", RunLog(cluster.project)
    shared.mkdir()
    cluster.say(f"shared = '{shared}'")
    first, second = specs(2)
    cluster.enqueue(first, second)
    cluster.round()
    assert sorted(log.runs()["state"]) == ["queued", "queued"]
    for count, spec in enumerate((first, second), 1):
        write_run(cluster.project, spec, tables=False)
        assert log.runs()["state"].to_list().count("succeeded") == count
    assert (shared / "letters" / first.run_id / "exit.json").exists()


def test_whoever_looks_at_runs_of_other_hosts_writes_nothing_beside_them(
    cluster: Cluster,
) -> None:
    from tui_datasize.runlog.reader import RunLog

    (spec,) = specs(1)
    cluster.enqueue(spec)
    cluster.round()
    cluster.begin()
    paths = cluster.paths(spec)
    for file in (paths.claim, paths.lease(1)):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"boot_id": "another"}))
    os.utime(paths.lease(1), ns=(1, 1))
    os.utime(paths.directory, ns=(1, 1))
    assert RunLog(cluster.project).runs()["state"].to_list() == ["running"]
    assert paths.directory.stat().st_mtime_ns == 1


def test_this_machine_makes_no_runs_in_a_directory_that_the_cluster_shares(
    cluster: Cluster, tmp_path: Path
) -> None:
    (tmp_path / "shared").mkdir()
    cluster.say(f"shared = '{tmp_path}/shared'")
    waits, handed, other = specs(3)
    # Queued before the directory was a link.
    cluster.queue.enqueue(waits)
    cluster.enqueue(handed)
    cluster.round()
    with pytest.raises(ConfigError, match="only the cluster makes runs there; queue it `--on slurm`"):
        cluster.queue.enqueue(other)
    dispatcher = Dispatcher(cluster.store, cluster.project, *[Mock()] * 4, tmp_path, Mock())
    (job,) = cluster.store.waiting(9)
    assert dispatcher._prepare_lane(job, 0) is None
    assert cluster.job(waits).state is JobState.HELD
    assert "which the nodes of the cluster share" in cluster.job(waits).reason
    assert not cluster.paths(waits).directory.exists()
    # A link of one's own, to a larger disk for instance, is as good as ever.
    (tmp_path / "large").mkdir()
    (cluster.project.runs / "digits").symlink_to(tmp_path / "large")
    cluster.queue.enqueue(fake_spec("digits"))


def test_status_tells_what_runs_still_take_and_why_not_when_all_end(cluster: Cluster, capsys) -> None:
    from tests.fakes import metric_rows
    from tui_datasize.cli.dispatch import main

    runs, waits = specs(2)
    cluster.enqueue(runs, waits)
    cluster.round()
    cluster.begin(1)
    cluster.round()
    rows = metric_rows(runs, [1, 2], 0.5)
    cluster.paths(runs).metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    authority = SchedulerLock(cluster.project.scheduler_lock)
    assert authority.take()
    assert main(["status", "--project", str(cluster.root)]) == 0
    authority.release()
    said = "".join(capsys.readouterr())
    assert "time left: not known for 2 runs: Slurm decides when 1 of them begins" in said
    assert "learned from its own first 2 updates (1 run)" in said
    cluster.queue.ask(CommandKind.CANCEL, waits)
    assert authority.take()
    assert main(["status", "--project", str(cluster.root)]) == 0
    authority.release()
    assert re.search(r"time left: about \S+ s? ?for 1 run\n", "".join(capsys.readouterr()))


def test_two_hosts_that_submit_the_same_run_make_it_once(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "other").mkdir()
    other = Cluster(tmp_path / "other", monkeypatch)
    (spec,) = specs(1)
    for host in (cluster, other):
        host.say(f"shared = '{tmp_path}/shared'")
        host.enqueue(spec)
        host.round()
    cluster.begin()
    other.begin()
    assert len(other.refused) == 1
    other.round(3)
    assert other.states() == [RUNNING]
    cluster.end()
    for host in (cluster, other):
        host.round(2)
        assert host.states() == [SUCCEEDED]
        assert not host.store.cluster.has_work()
    assert cluster.paths(spec).directory.samefile(other.paths(spec).directory)
    other.store.close()


def test_who_rebuilds_prunes_or_forces_leaves_runs_of_other_hosts_alone(
    cluster: Cluster,
) -> None:
    from tui_datasize.jobs.prune import Removal, find_prunable, remove
    from tui_datasize.jobs.rebuild import repair

    begun, done = specs(2)
    cluster.enqueue(begun, done)
    cluster.round()
    cluster.begin()
    for spec in (begun, done):
        for file in (cluster.paths(spec).claim, cluster.paths(spec).lease(1)):
            file.write_text(json.dumps(json.loads(file.read_text()) | {"boot_id": "another", "host": "far"}))
        os.utime(cluster.paths(spec).lease(1), ns=(1, 1))
    for claim in cluster.claims:
        # Its lock is one of the far host's, which nobody here sees.
        claim._finished = True
        claim.release()
    cluster.store.close()
    for file in cluster.project.runs.glob("queue.db*"):
        file.unlink()
    before = sorted(cluster.project.runs.rglob("*"))
    assert repair(cluster.project).added == {RUNNING: 2}
    (job,) = (job for job in cluster.queue.client.jobs() if job.run_id == begun.run_id)
    assert (job.place, job.attempts) == ("slurm", 1)
    with pytest.raises(BlockingIOError, match="job 1_0 on far has attempt 1 and has not ended it"):
        supersede(cluster.paths(begun), cluster.project)
    # A lease behind a success: whoever has it is about to see that it has nothing to do.
    paths = cluster.paths(done)
    paths.exit.write_text(json.dumps({"attempt": 1, "outcome": "succeeded", "reason": "", "finished_at": ""}))
    paths.checkpoint.write_bytes(b"x")
    chosen = find_prunable(cluster.project, [], experiment=None)
    assert [file.path for file in chosen] == [paths.checkpoint]
    paths.lease(1).rename(paths.lease(2))
    assert remove(cluster.project, lambda: [], chosen, "none") == Removal(0, 0, 1)
    paths.lease(2).unlink()
    assert remove(cluster.project, lambda: [], chosen, "none") == Removal(1, 1, 0)
    assert {*before} <= {*cluster.project.runs.rglob("*"), paths.lease(1)}


def test_a_run_is_freed_only_when_slurm_was_asked_for_the_job_that_has_it(cluster: Cluster) -> None:
    (spec,) = specs(1)
    cluster.enqueue(spec)
    cluster.round(2)
    (own,) = cluster.slurm.tasks
    other = MockTask("ds-other", "900", 0, own.directory, 1, state="RUNNING", node="n9")
    cluster.slurm.tasks.append(other)
    cluster.die(other)
    paths = cluster.paths(spec)
    for file in (paths.claim, paths.lease(1)):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"boot_id": "another", "host": "far"}))
    own.state = "COMPLETED"
    cluster.round(2)
    # While it is renewed there is nothing to ask.
    assert all("--name" in " ".join(words) for words in cluster.asked("squeue"))
    os.utime(paths.lease(1), ns=(1, 1))
    # Its node sleeps: Slurm has it, and starts it again.
    cluster.round(4)
    assert (cluster.states(), paths.exit.exists()) == ([RUNNING], False)
    assert any("--name" not in " ".join(words) for words in cluster.asked("squeue"))
    cluster.slurm.tasks.remove(other)
    cluster.round(2)
    assert cluster.states() == [JobState.INTERRUPTED]
