"""Commands on the command line: what is asked wrongly ends in one line, status 2, and changes nothing."""

import json
from collections import Counter
from contextlib import closing

import pytest

from tests.fakes import fake_spec, write_run
from tests.unit.test_cli import PROJECT, assert_one_line
from tui_datasize.cli.dispatch import main
from tui_datasize.cli.doctor import _slots
from tui_datasize.cli.watch import _Board
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.requests import CommandResult
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.jobs.queue.store import Store
from tui_datasize.jobs.scheduler.apply_commands import CommandApplier
from tui_datasize.runlog.paths import ProjectPaths

HUGE = "999999999999999999999"
"""More than the database can hold."""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project directory that is the current one, whose commands start no scheduler."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATASIZE_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(QueueClient, "ensure_scheduler", lambda _client: None)
    monkeypatch.setattr("tui_datasize.jobs.queue.requests.ANSWER_WITHIN_S", 0.0)
    (tmp_path / "experiments.toml").write_text(PROJECT)
    return ProjectPaths(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["hold"], "no job given; name a run or an experiment, or say `hold --all`"),
        (["cancel", "small", "--all"], "JOB and --all exclude each other"),
        (["move", "nothing"], "no run begins with 'nothing'"),
        (["queue", "small", "--after", "nothing"], "no run begins with 'nothing'"),
        (["run", "small", "--after", "nothing"], "no run begins with 'nothing'"),
        (["prune", "nothing"], "no experiment 'nothing' has runs here"),
        (["scheduler", "stop", "--cold"], "--cold is for a scheduler that starts"),
        (["scheduler", "status", "--packs", "off"], "--packs is for a scheduler that starts"),
    ],
)
def test_what_is_asked_wrongly_is_one_line(project, capsys, arguments, message):
    assert main(arguments) == 2
    assert_one_line(capsys, message)
    assert QueueClient(project).jobs() == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["queue", "small", "--max-attempts", "0"],
        ["run", "small", "--max-attempts", "0"],
        ["scheduler", "start", "--slots-per-gpu", "many"],
        ["scheduler", "start", "--packs", "sometimes"],
        ["scheduler", "start", "--pack-width", "0"],
        ["retry", "--all", "--state", "broken"],
        ["prune", "--keep", "newest"],
        ["move", "small", "--by", "up"],
        ["move", "small", "--by", HUGE],
        ["priority", "small", "--by", f"-{HUGE}"],
        ["queue", "small", "--max-attempts", HUGE],
        ["scheduler", "start", "--slots-per-gpu", HUGE],
        ["scheduler", "start", "--max-jobs-per-gpu", HUGE],
        ["scheduler", "start", "--cpu-slots", HUGE],
        ["scheduler", "start", "--pack-width", HUGE],
    ],
)
def test_wrong_usage_exits_with_two(project, capsys, arguments):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    if arguments[-1].endswith(HUGE):
        assert "expected a whole number from " in capsys.readouterr().err


def test_an_experiment_is_queued_after_a_run_and_with_a_limit(project, capsys):
    assert main(["queue", "small", "--sizes", "40", "--seeds", "0"]) == 0
    (source,) = QueueClient(project).jobs()
    assert (
        main(["queue", "small", "--sizes", "80", "--max-attempts", "1", "--after", source.run_id[:12]]) == 0
    )
    dependants = [job for job in QueueClient(project).jobs() if job.run_id != source.run_id]
    assert [(job.after, job.max_attempts) for job in dependants] == [((source.run_id,), 1)] * 2
    capsys.readouterr()
    assert main(["status"]) == 0
    assert f"waits for {source.run_id}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ([], "there already"),
        (["--max-attempts", "3"], "there already and keep their terms and places"),
        (["--after", "big"], "there already and keep their terms and places"),
        (["--order", "by-size"], "there already and keep their terms and places"),
    ],
)
def test_terms_that_come_too_late_are_told(project, capsys, terms, words):
    big = PROJECT.partition("[experiments.small]")[2].partition("[experiments.")[0]
    project.experiments.write_text(PROJECT + f"[experiments.big]{big}")
    assert main(["queue", "big"]) == 0
    assert main(["queue", "small", "--max-attempts", "2"]) == 0
    capsys.readouterr()
    assert main(["queue", "small", *terms]) == 0
    assert capsys.readouterr().err == f"small: 0 runs queued, 4 were {words}\n"
    assert {job.max_attempts for job in QueueClient(project).jobs() if job.experiment == "small"} == {2}


def test_a_scheduler_that_was_stopped_stays_so_until_one_is_asked_for(project, capsys, monkeypatch):
    client = QueueClient(project)
    starts = []
    monkeypatch.setattr(QueueClient, "ensure_scheduler", lambda client: starts.append(client))
    assert main(["queue", "small"]) == 0
    apply_all(project)
    assert not client.settings().stopped
    assert main(["scheduler", "stop"]) == 0
    # By the request itself, and as well once a scheduler has followed it.
    for follow in (lambda: None, lambda: apply_all(project)):
        follow()
        starts.clear()
        client.keep_scheduler()
        assert starts == []
        assert client.waits_for_slots() == "waiting for `datasize-tui scheduler start`: it was stopped"
    assert main(["status"]) == 0
    assert "scheduler: stopped\n" in capsys.readouterr().err
    with closing(Store(project.queue)) as store:
        CommandApplier(store, project).dismiss_old_stops(store.newest_command())
    client.keep_scheduler()
    assert len(starts) == 1
    assert not client.settings().stopped


def test_a_stop_among_many_commands_is_for_the_scheduler_before(project):
    client = QueueClient(project)
    client.send(CommandKind.HOLD, [f"run{number}" for number in range(1500)])
    client.send(CommandKind.STOP, [""])
    with closing(Store(project.queue)) as store:
        desk = CommandApplier(store, project)
        desk.dismiss_old_stops(store.newest_command())
        while desk.apply_pending():
            pass
        assert not desk.stop_requested


@pytest.mark.parametrize(
    ("asked", "stopped", "ends"),
    [
        ([(CommandKind.HOLD, 0), (CommandKind.STOP, 0)], True, True),
        ([(CommandKind.STOP, 0), (CommandKind.HOLD, 0)], False, False),
        ([(CommandKind.STOP, 1)], False, True),
        ([(CommandKind.STOP, 0), (CommandKind.STOP, 1)], False, True),
    ],
    ids=["a stop", "something after a stop", "room for another", "a restart after a stop"],
)
def test_only_the_last_that_was_asked_stops_a_queue(project, asked, stopped, ends):
    client = QueueClient(project)
    for kind, amount in asked:
        client.send(kind, ["x" if kind is CommandKind.HOLD else ""], amount)
    assert client.settings().stopped == stopped
    with closing(Store(project.queue)) as store:
        desk = CommandApplier(store, project)
        while desk.apply_pending():
            pass
        assert desk.stop_requested == ends
    assert client.settings().stopped == stopped


def apply_all(project) -> None:
    """What a scheduler would do with the commands that wait."""
    with closing(Store(project.queue)) as store:
        CommandApplier(store, project).apply_pending()


def test_what_several_runs_begin_with_names_them_up_to_a_dash(project, capsys):
    assert main(["queue", "small"]) == 0
    apply_all(project)
    assert main(["hold", "small-n40"]) == 0
    apply_all(project)
    held = [job.run_id for job in QueueClient(project).jobs() if job.state is JobState.HELD]
    assert [run_id[:9] for run_id in held] == ["small-n40"] * 2
    capsys.readouterr()
    assert main(["hold", "small-n40"]) == 0
    assert "nothing to hold: 2 held; that is for interrupted or queued jobs" in capsys.readouterr().err
    assert main(["hold", "small-n"]) == 2
    assert_one_line(capsys, "'small-n' is ambiguous (4 runs); write more of it: small-n40-d0")
    assert main(["release", "small-n40-d0-s1"]) == 0
    apply_all(project)
    assert sum(job.state is JobState.HELD for job in QueueClient(project).jobs()) == 1


@pytest.mark.parametrize(
    ("state", "command", "words"),
    [
        (JobState.SUCCEEDED, "hold", "has succeeded already; `queue --force` runs it again"),
        (JobState.SUCCEEDED, "cancel", "has succeeded already; `queue --force` runs it again"),
        (JobState.SUCCEEDED, "retry", "has succeeded already; `queue --force` runs it again"),
        (JobState.FAILED, "hold", "has failed already; `retry` runs it again"),
        (JobState.CANCELLED, "move", "is cancelled already; `retry` queues it again"),
    ],
)
def test_a_run_that_has_ended_is_answered_in_clear_words(project, state, command, words):
    client = QueueClient(project)
    assert main(["queue", "small", "--sizes", "40", "--seeds", "0"]) == 0
    (job,) = client.jobs()
    apply_all(project)
    with closing(Store(project.queue)) as store, store.transaction():
        store.change(job.run_id, state, "")
    asked = client.send(CommandKind(command), [job.run_id])
    apply_all(project)
    assert client.wait(asked, 1.0) == [CommandResult(job.run_id, False, f"{job.run_id}: {words}")]


def test_a_run_that_has_not_started_has_no_log_yet(project, capsys):
    assert main(["queue", "small", "--sizes", "40", "--seeds", "0"]) == 0
    (job,) = QueueClient(project).jobs()
    capsys.readouterr()
    assert main(["logs", job.run_id]) == 0
    assert capsys.readouterr().err == f"{job.run_id}: has not started; it is queued\n"


def test_swept_variants_are_told_apart(project, capsys, monkeypatch):
    monkeypatch.setattr(QueueClient, "scheduler_alive", lambda _client: True)
    sweep = '[experiments.small.sweep]\n"optimizer.lr" = [0.1, 0.01]\n'
    project.experiments.write_text(PROJECT + sweep)
    assert main(["queue", "small", "--sizes", "40", "--seeds", "0", "--dry-run"]) == 0
    shown = [line.split("  ")[1] for line in capsys.readouterr().out.splitlines()]
    assert shown == ["lr=0.1", "lr=0.01"]
    assert main(["queue", "small"]) == 0
    apply_all(project)
    capsys.readouterr()
    assert main(["status", "--experiment", "small"]) == 0
    assert capsys.readouterr().out.count("lr=0.1 ") == 4
    assert main(["status", "--json"]) == 0
    jobs = json.loads(capsys.readouterr().out)["jobs"]
    assert Counter(job["variant"] for job in jobs) == {"lr=0.1": 4, "lr=0.01": 4}


def test_who_has_the_slots_is_told(project, capsys, monkeypatch):
    words = "waiting: all 2 CPU slots are used by /elsewhere (2)"
    monkeypatch.setattr(QueueClient, "waits_for_slots", lambda _client: words)
    assert main(["queue", "small"]) == 0
    capsys.readouterr()
    assert main(["status"]) == 0
    assert words in capsys.readouterr().err
    assert main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["waiting"] == words
    assert _slots(project).text == words
    board = _Board(project, [])
    board.tell(words)
    board.tell(words)
    assert capsys.readouterr().err.count(words) == 1


@pytest.fixture
def answered(project, monkeypatch):
    """The project, with a scheduler that answers at once and starts nothing."""
    monkeypatch.setattr(QueueClient, "ensure_scheduler", lambda client: apply_all(client.project))
    return project


def change(project, run_id, state, *, cancelling=False) -> None:
    """Take a job to a state as a scheduler would."""
    with closing(Store(project.queue)) as store, store.transaction():
        if state is JobState.STARTING:
            store.begin_attempt(run_id, 1, "cpu", 0, "tag")
        else:
            store.change(run_id, state)
        if cancelling:
            store.update(run_id, cancel_requested=1)


@pytest.mark.parametrize("command", ["queue", "run"])
@pytest.mark.parametrize(
    ("cancelling", "words"),
    [(False, "is running; cancel it first"), (True, "is just being cancelled; queue it again in a moment")],
)
def test_a_run_that_the_scheduler_refuses_to_queue_is_told(answered, capsys, command, cancelling, words):
    small = ["small", "--sizes", "40"]
    assert main(["queue", *small]) == 0
    active, other = QueueClient(answered).jobs()
    change(answered, active.run_id, JobState.STARTING, cancelling=cancelling)
    change(answered, other.run_id, JobState.CANCELLED)
    capsys.readouterr()
    assert main([command, *small, "--cancelled" if cancelling else "--force"]) == 2
    told = f"small: 1 run queued, 0 were there already, 1 refused: {active.run_id}: {words}\n"
    assert capsys.readouterr().err == told
    states = {job.run_id: job.state for job in QueueClient(answered).jobs()}
    assert states == {active.run_id: JobState.STARTING, other.run_id: JobState.QUEUED}


def test_a_refused_run_is_not_counted_as_queued_for_programs(answered, capsys):
    assert main(["queue", "small", "--sizes", "40", "--seeds", "0"]) == 0
    (job,) = QueueClient(answered).jobs()
    change(answered, job.run_id, JobState.STARTING)
    capsys.readouterr()
    assert main(["queue", "small", "--force", "--json"]) == 2
    shown = json.loads(capsys.readouterr().out)
    assert (shown["new"], shown["present"]) == (3, 0)
    assert shown["refused"] == {job.run_id: f"{job.run_id}: is running; cancel it first"}


def test_a_forced_run_is_waited_for_only_once_the_scheduler_knows_of_it(project, monkeypatch):
    """Until then it stands in the queue as it ended before."""
    small = ["small", "--sizes", "40", "--seeds", "0"]
    assert main(["queue", *small]) == 0
    apply_all(project)
    (job,) = QueueClient(project).jobs()
    change(project, job.run_id, JobState.SUCCEEDED)
    looks = []

    def schedule(client):
        """Take some time to answer, then run what waits and let it fail."""
        looks.append(client)
        if len(looks) == 3:
            apply_all(project)
        if len(looks) == 4:
            change(project, job.run_id, JobState.FAILED)

    monkeypatch.setattr(QueueClient, "ensure_scheduler", schedule)
    monkeypatch.setattr("tui_datasize.cli.watch.LOOK_EVERY_S", 0.0)
    assert main(["run", *small, "--force"]) == 1
    assert len(looks) == 4


def test_status_says_that_nothing_starts_where_there_are_no_slots(project, capsys, monkeypatch):
    monkeypatch.setattr(QueueClient, "slots", lambda _client: 0)
    assert main(["queue", "small"]) == 0
    monkeypatch.setattr(QueueClient, "scheduler_alive", lambda _client: True)
    apply_all(project)
    assert main(["status"]) == 0
    told = capsys.readouterr().err
    assert "there are 0 slots, so no waiting job starts; `datasize-tui doctor` says why" in told
    assert "1 slot" not in told
    assert main(["status", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["slots"], shown["ends_in_s"]) == (0, None)


def test_nobody_knows_when_jobs_end_that_are_held_and_those_that_are_done_have_ended(project, capsys):
    def told() -> tuple[object, object]:
        main(["status", "--json"])
        shown = json.loads(capsys.readouterr().out)
        return shown["ends_in_s"], {one["ends_in_s"] for one in shown["experiments"].values()}

    assert main(["queue", "small"]) == 0
    apply_all(project)
    run_ids = [job.run_id for job in QueueClient(project).jobs()]
    for state, ends_in_s in ((JobState.HELD, None), (JobState.CANCELLED, 0.0)):
        for run_id in run_ids:
            change(project, run_id, state)
        capsys.readouterr()
        assert told() == (ends_in_s, {ends_in_s})


def test_experiments_of_which_only_runs_are_there_are_listed(project, capsys):
    for size in (40, 160):
        write_run(project, fake_spec("copied", train_size=size), tables=False)
    (project.runs / "empty").mkdir()
    assert main(["experiments"]) == 0
    told = capsys.readouterr().out
    assert "2 from 40 to 160; not in experiments.toml" in told
    assert "empty" not in told
    assert main(["experiments", "--json"]) == 0
    (row,) = (one for one in json.loads(capsys.readouterr().out) if one["experiment"] == "copied")
    assert (row["done"], row["runs"], row["sizes"]) == (2, 2, [40, 160])
