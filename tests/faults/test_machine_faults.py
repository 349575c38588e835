"""The machine misbehaves: the clock jumps, the disk fills up, directories become read-only."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tests.disks import SmallDisk
from tests.faults.fake_gpus import GPU
from tests.faults.fake_worker import REFUSAL
from tests.faults.lab import Lab, is_alive
from tests.faults.no_processes import MARK
from tui_datasize.cli.dispatch import main as cli
from tui_datasize.errors import EXIT_OK, EXIT_RUN_FAILED, StorageError
from tui_datasize.experiments.packing import memory_key
from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.queue.faults import FaultKind
from tui_datasize.jobs.queue.gpu_memory import CONTEXT_BYTES, Learned
from tui_datasize.jobs.queue.state import MAX_ATTEMPTS, JobState
from tui_datasize.jobs.queue.store import Store
from tui_datasize.jobs.scheduler.placement import MARGIN_BYTES
from tui_datasize.jobs.scheduler.slots import read_holders
from tui_datasize.runlog.paths import RunPaths

pytestmark = pytest.mark.faults

GIB = 2**30
WILD = "tests.faults.wild_clock"
SCARCE = "tests.faults.no_processes"


def test_jumps_of_the_wall_clock_end_nothing_and_shorten_no_grace(lab: Lab) -> None:
    """Back and forth by days at every look, for schedulers and workers: set back, suspended, corrected."""
    options = (
        *("--grace-s", "60"),
        *("--worker", shlex.join([sys.executable, "-P", "-m", WILD, "tests.faults.fake_worker"])),
    )
    gated, stubborn = lab.enqueue(
        lab.spec(100, gate=str(lab.gate())), lab.spec(101, gate=str(lab.gate("never")), stubborn=True)
    )
    scheduler = lab.start_scheduler(*options, through=[WILD])
    lab.wait_for(gated, JobState.RUNNING)
    lab.worker_pid(stubborn)
    lab.ask(CommandKind.CANCEL, stubborn)
    lab.kill(scheduler)
    lab.start_scheduler(*options, through=[WILD])
    short = lab.enqueue(*(lab.spec(seed) for seed in range(3)))
    for run in short:
        assert lab.wait_for(run, JobState.SUCCEEDED).attempts == 1
        lab.assert_ran_once(run)
    assert lab.job(gated).state is JobState.RUNNING
    assert is_alive(lab.worker_pid(stubborn))
    for name in ("gate", "never"):
        lab.gate(name).touch()
    assert lab.wait_for(gated, JobState.SUCCEEDED).attempts == 1
    lab.assert_ran_once(gated)
    # It had done its work before its grace was over.
    assert lab.wait_for(stubborn, JobState.SUCCEEDED).attempts == 1


def test_a_worker_that_was_suspended_goes_on_as_if_nothing_had_been(lab: Lab) -> None:
    (run,) = lab.enqueue(lab.spec(gate=str(lab.gate())))
    scheduler = lab.start_scheduler()
    worker = lab.worker_pid(run)
    os.kill(worker, signal.SIGSTOP)
    lab.kill(scheduler)
    lab.start_scheduler()
    (other,) = lab.enqueue(lab.spec(1))
    lab.wait_for(other, JobState.SUCCEEDED)
    assert lab.job(run).state is JobState.RUNNING
    lab.gate().touch()
    os.kill(worker, signal.SIGCONT)
    assert lab.wait_for(run, JobState.SUCCEEDED).attempts == 1
    lab.assert_ran_once(run)


def slots_of(pid: int) -> int:
    """Device slots that a worker holds."""
    return sum("/slots" in str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir())


def test_a_run_that_fills_a_shared_gpu_has_it_to_itself_the_second_time(warm_lab: Lab) -> None:
    lab = warm_lab
    reason = "out of memory: tried to allocate 40 GiB"
    fails = {"behaviour": "fail", "reason": reason, "lack": "device memory"}
    once = lab.spec(0, **fails, failures=1, gate=str(lab.gate()))
    again, other = lab.spec(1, **fails), lab.spec(2)
    first, second, third = lab.enqueue(once, again, other)
    lab.start_scheduler("--slots-per-gpu", "3", through=["tests.faults.fake_gpus"])
    lab.wait(lambda: len(lab.executions(first)) == 3)
    job = lab.wait_for(first, JobState.RUNNING)
    assert (job.attempts, job.device) == (2, GPU)
    assert slots_of(lab.worker_pid(first)) == 3
    assert f"interrupted ({reason}; starts again alone)" in lab.log()
    # Nothing else is on the GPU meanwhile.
    assert not any(lab.job(run).state.is_active for run in (second, third))
    lab.gate().touch()
    assert lab.wait_for(first, JobState.SUCCEEDED).attempts == 2
    # One that fills the whole of it is not tried a third time.
    job = lab.wait_for(second, JobState.FAILED)
    assert (job.attempts, job.reason) == (2, reason)
    assert lab.wait_for(third, JobState.SUCCEEDED).attempts == 1


def test_a_run_has_memory_for_what_its_kind_took_and_for_its_own_images(lab: Lab) -> None:
    small = lab.spec(0, gate=str(lab.gate()))
    with closing(Store(lab.project.queue)) as store:
        with store.transaction():
            store.learn_memory(memory_key(small), Learned(False, 3 * GIB, GIB // 100, test_bytes=GIB))
        (large,) = lab.enqueue(replace(small, train_size=800))
        lab.start_scheduler("--slots-per-gpu", "3", through=["tests.faults.fake_gpus"])
        lab.wait_for(large, JobState.RUNNING)
        (job,) = store.active()
    expected_bytes = CONTEXT_BYTES + 4 * GIB + 800 * (GIB // 100) + MARGIN_BYTES
    assert (job.device, job.reserved_bytes) == (GPU, expected_bytes)
    lab.gate().touch()
    lab.wait_for(large, JobState.SUCCEEDED)


@pytest.mark.parametrize("starts", ["cold", "warm", "forked"])
def test_a_machine_without_processes_is_waited_for_and_costs_no_attempt(lab: Lab, starts: str) -> None:
    """Cold workers, the preloader itself, and workers forked from one that is there."""
    options = {"cold": ("--cold",), "warm": (), "forked": ("--preload", SCARCE)}[starts]
    lab.options = tuple(option for option in lab.options if option != "--cold")
    mark = lab.project.root / MARK
    if starts != "forked":
        mark.touch()
    scheduler = lab.start_scheduler(*options, "--cpu-slots", "2", through=[SCARCE])
    if starts == "forked":
        # The preloader is there before the processes are used up.
        lab.enqueue(lab.spec(99))
        lab.wait_until_over()
        mark.touch()
    runs = lab.enqueue(*(lab.spec(seed) for seed in range(4)))
    lab.wait(lambda: "no worker could be started: Resource temporarily unavailable" in lab.log())
    lab.wait(lambda: [fault.kind for fault in lab.client.faults()] == [FaultKind.PROCESSES])
    if starts == "cold":
        lab.wait(lambda: any(job.attempts > 2 for job in lab.client.jobs()))
        # One is tried at a time, so that the others are not used up by the way.
        assert sum(job.attempts > 1 for job in lab.client.jobs()) == 1
    assert not any(lab.job(run).state in (JobState.FAILED, JobState.RUNNING) for run in runs)
    mark.unlink()
    for run in runs:
        job = lab.wait_for(run, JobState.SUCCEEDED)
        assert job.max_attempts - job.attempts == 2
        lab.assert_ran_once(run)
    assert scheduler.poll() is None
    assert lab.client.faults() == []
    # Met again and again, and said once.
    assert lab.log().count("it is tried again by itself") == 2
    assert "Traceback" not in lab.log()


def test_a_worker_command_that_cannot_be_run_fails_the_runs_with_that_reason(lab: Lab) -> None:
    runs = lab.enqueue(*lab.lanes(2), lab.spec(9))
    lab.start_scheduler("--worker", "/nowhere/python -m worker", "--packs", "always", "--cpu-slots", "1")
    reason = "no worker could be started: /nowhere/python: No such file or directory"
    for run in runs:
        job = lab.wait_for(run, JobState.FAILED)
        assert (job.attempts, job.reason) == (1, reason)


def queue_is_refused(lab: Lab, words: str, runs: int = 1) -> None:
    """A client is told in one line, and nothing is acknowledged."""
    before = lab.client.jobs()
    with pytest.raises(StorageError, match=words) as caught:
        lab.client.enqueue([lab.spec(seed) for seed in range(1000, 1000 + runs)])
    assert "\n" not in caught.value.line
    assert lab.client.jobs() == before


def assert_unsaid_end_cost_nothing(lab: Lab, run: RunPaths) -> None:
    """The first attempt could not write that it had ended: it is told why, and counts for nothing."""
    with closing(Store(lab.project.queue)) as store:
        reason = store._one("SELECT reason FROM attempts WHERE run_id = ? AND attempt = 1", run.run_id)[0]
    assert reason == "its disk took nothing more, not even how it ended"
    job = lab.job(run)
    assert (job.attempts, job.max_attempts) == (2, MAX_ATTEMPTS + 1)


def test_a_full_disk_is_waited_for_and_nothing_acknowledged_is_lost(lab: Lab, small_disk: SmallDisk) -> None:
    small_disk.mount(lab.project.runs)
    first, *later = lab.enqueue(lab.spec(0, gate=str(lab.gate())), *(lab.spec(seed) for seed in range(1, 3)))
    scheduler = lab.start_scheduler("--cpu-slots", "1")
    worker = lab.worker_pid(first)
    lab.wait_for(first, JobState.RUNNING)
    ballast = small_disk.fill(lab.project.runs)
    lab.gate().touch()
    # It cannot note its end, nor write it.
    lab.wait(lambda: not is_alive(worker))
    queue_is_refused(lab, "full|No space left", runs=600)
    assert not lab.executions(later[0])
    ballast.unlink()
    for run in later:
        assert lab.wait_for(run, JobState.SUCCEEDED).attempts == 1
        lab.assert_ran_once(run)
    assert lab.wait_for(first, JobState.SUCCEEDED).attempts == 2
    assert_unsaid_end_cost_nothing(lab, first)
    assert scheduler.poll() is None
    assert "Traceback" not in lab.log()


def test_a_directory_that_becomes_read_only_is_waited_for(lab: Lab, small_disk: SmallDisk) -> None:
    scheduler = lab.start_scheduler()
    experiment = lab.project.runs / "lab"
    small_disk.mount(experiment)
    small_disk.remount(experiment, "ro")
    (run,) = lab.enqueue(lab.spec())
    lab.wait(lambda: "Read-only file system" in lab.log())
    assert lab.job(run).state is JobState.QUEUED
    small_disk.remount(experiment, "rw")
    assert lab.wait_for(run, JobState.SUCCEEDED).attempts == 1
    assert scheduler.poll() is None
    assert "Traceback" not in lab.log()


def test_a_disk_that_becomes_read_only_under_a_run_loses_nothing(lab: Lab, small_disk: SmallDisk) -> None:
    first, *later = lab.enqueue(lab.spec(0, gate=str(lab.gate())), *(lab.spec(seed) for seed in range(1, 3)))
    scheduler = lab.start_scheduler("--cpu-slots", "1")
    worker = lab.worker_pid(first)
    lab.wait_for(first, JobState.RUNNING)
    small_disk.freeze(lab.project.runs)
    lab.gate().touch()
    # It cannot write how it ended.
    lab.wait(lambda: not is_alive(worker))
    queue_is_refused(lab, "is on a read-only file system; mount it for writing")
    assert not any(lab.executions(run) for run in later)
    small_disk.thaw(lab.project.runs)
    for run in (first, *later):
        lab.wait_for(run, JobState.SUCCEEDED)
        lab.assert_ran_once(run)
    assert_unsaid_end_cost_nothing(lab, first)
    assert scheduler.poll() is None
    assert "Traceback" not in lab.log()


@pytest.mark.parametrize("starts", ["cold", "warm"])
def test_a_disk_that_is_mounted_anew_is_let_go_of_before_and_waited_for(
    lab: Lab, small_disk: SmallDisk, tmp_path_factory: pytest.TempPathFactory, starts: str
) -> None:
    """As it has to be once its file system has become read-only by itself."""
    lab.options = tuple(option for option in lab.options if option != "--cold" or starts == "cold")
    gate = tmp_path_factory.mktemp("gate") / "gate"
    small_disk.mount(lab.project.root)
    first, *later = lab.enqueue(lab.spec(0, gate=str(gate)), *(lab.spec(seed) for seed in range(1, 3)))
    scheduler = lab.start_scheduler("--cpu-slots", "1")
    worker = lab.worker_pid(first)
    lab.wait_for(first, JobState.RUNNING)
    small_disk.freeze(lab.project.root)
    gate.touch()
    lab.wait(lambda: not is_alive(worker))
    device = lab.project.root.stat().st_dev
    copy = small_disk.take_away(lab.project.root)
    lab.wait(lambda: not any(has_open(pid, device) for pid in (scheduler.pid, *lab.processes())))
    # Nothing was put where it is to be mounted.
    assert not list(lab.project.root.iterdir())
    small_disk.bring(copy, lab.project.root)
    for run in (first, *later):
        lab.wait_for(run, JobState.SUCCEEDED)
        lab.assert_ran_once(run)
    assert scheduler.poll() is None
    assert "over, met" in lab.log()
    assert "Traceback" not in lab.log()


def has_open(pid: int, device: int) -> bool:
    """Whether a process has anything open on a device, or works there."""
    found = []
    with suppress(FileNotFoundError):
        for link in (Path(f"/proc/{pid}/cwd"), *Path(f"/proc/{pid}/fd").iterdir()):
            # One may be closed in between.
            with suppress(FileNotFoundError):
                found.append(link.stat().st_dev)
    return device in found


def test_a_scheduler_whose_lock_is_deleted_leaves_the_queue_to_the_next(lab: Lab) -> None:
    first = lab.start_scheduler()
    lab.project.scheduler_lock.unlink()
    lab.wait(lambda: first.poll() is not None)
    assert "scheduler.lock was moved or deleted" in lab.log()
    (run,) = lab.enqueue(lab.spec())
    lab.start_scheduler()
    lab.wait_for(run, JobState.SUCCEEDED)
    lab.assert_ran_once(run)


def test_a_scheduler_without_a_disk_to_write_to_refuses_in_one_line_and_later_ends_when_asked(
    lab: Lab, small_disk: SmallDisk
) -> None:
    small_disk.mount(lab.project.runs)
    (run,) = lab.enqueue(lab.spec(gate=str(lab.gate())))
    small_disk.remount(lab.project.runs, "ro")
    with pytest.raises(StorageError, match="Read-only file system; mount it for writing"):
        lab.client.ensure_scheduler()
    small_disk.remount(lab.project.runs, "rw")
    # A signal reaches it by its command line.
    scheduler = lab.spawn_scheduler()
    lab.wait_for(run, JobState.RUNNING)
    ballast = small_disk.fill(lab.project.runs)
    with suppress(StorageError):
        for _ in range(1000):
            lab.client.send(CommandKind.PRIORITY, [run.run_id] * 50, 1)
    lab.wait(lambda: FaultKind.DISK in [fault.kind for fault in lab.client.faults()])
    assert lab.client.stop_scheduler()
    assert scheduler.wait() == 0
    ballast.unlink()
    lab.start_scheduler()
    lab.gate().touch()
    lab.wait_for(run, JobState.SUCCEEDED)
    lab.assert_ran_once(run)


def test_a_scheduler_that_a_signal_stops_or_kills_is_told_until_one_works(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    (run,) = lab.enqueue(lab.spec(gate=str(lab.gate())))
    # A stopped one is known by its command line.
    scheduler = lab.spawn_scheduler()
    lab.wait_for(run, JobState.RUNNING)
    status = ["status", "--project", str(lab.project.root)]
    assert cli(status) == EXIT_OK
    os.kill(scheduler.pid, signal.SIGSTOP)
    lab.wait(lambda: cli(status) == EXIT_RUN_FAILED)
    stopped = f"fault: the scheduler (process {scheduler.pid}) is stopped by a signal"
    assert stopped in capsys.readouterr().err
    assert cli(["doctor", "--project", str(lab.project.root)]) != EXIT_OK
    assert f"`kill -CONT {scheduler.pid}` lets it go on" in " ".join(capsys.readouterr().out.split())
    os.kill(scheduler.pid, signal.SIGCONT)
    lab.wait(lambda: cli(status) == EXIT_OK)
    lab.kill(scheduler)
    assert cli(status) == EXIT_RUN_FAILED
    assert "fault: no scheduler for 1 run; `datasize-tui scheduler start`" in capsys.readouterr().err
    lab.start_scheduler()
    assert cli(status) == EXIT_OK
    lab.gate().touch()
    assert lab.wait_for(run, JobState.SUCCEEDED).attempts == 1


@pytest.mark.parametrize("starts", [pytest.param("cold", marks=pytest.mark.exhaustive), "warm"])
def test_a_gpu_that_fails_its_probe_takes_no_runs_until_one_passes(
    lab: Lab, warm_lab: Lab, starts: str
) -> None:
    lab = {"cold": lab, "warm": warm_lab}[starts]
    refusal = Path(os.environ["DATASIZE_SLOTS_DIR"]) / REFUSAL
    refusal.parent.mkdir(exist_ok=True, mode=0o700)
    refusal.write_text('{"usable": false, "what": "the driver is too old", "fix": "update it"}')
    runs = lab.enqueue(*(lab.spec(seed) for seed in range(3)))
    scheduler = lab.start_scheduler("--no-cpu", through=["tests.faults.fake_gpus"])
    lab.wait(lab.client.faults)
    (fault,) = lab.client.faults()
    assert "no jobs: the driver is too old; update it; it is tried again automatically" in fault.sentence
    assert lab.client.counts()[JobState.QUEUED] == len(runs)
    lab.kill(scheduler)
    refusal.unlink()
    lab.start_scheduler("--no-cpu", through=["tests.faults.fake_gpus"])
    for run in runs:
        job = lab.wait_for(run, JobState.SUCCEEDED)
        assert (job.attempts, job.device) == (1, GPU)
    assert lab.client.faults() == []
    assert lab.client.orphans() == []


def test_a_gpu_that_is_lost_under_a_run_is_told_on_every_screen_until_it_is_back(
    warm_lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = warm_lab
    refusal = Path(os.environ["DATASIZE_SLOTS_DIR"]) / REFUSAL
    run, other = lab.enqueue(lab.spec(0, behaviour="lose GPU", gate=str(lab.gate())), lab.spec(1))
    of_gpus = {"through": ["tests.faults.fake_gpus"]}
    scheduler = lab.start_scheduler("--no-cpu", "--slots-per-gpu", "1", **of_gpus)
    lab.wait_for(run, JobState.RUNNING)
    refusal.write_text('{"usable": false, "what": "the driver lost it", "fix": "reset the machine"}')
    lab.gate().touch()
    lab.wait(lambda: "the driver lost it" in str(lab.client.faults()))
    assert cli(["status", "--project", str(lab.project.root)]) == EXIT_RUN_FAILED
    told, says = "no jobs: the driver lost it; reset the machine", capsys.readouterr().err
    assert f"fault: GPU 0 (Fake GPU) takes {told}" in says
    assert "0 slots, so no waiting job starts" in says
    assert cli(["--once", "queue", "--size", "120x24", "--project", str(lab.project.root)]) == EXIT_RUN_FAILED
    header = " ".join(" ".join(capsys.readouterr().out.splitlines()[1:3]).split())
    assert told in header
    assert {lab.job(one).state for one in (run, other)} == {JobState.QUEUED, JobState.INTERRUPTED}
    lab.kill(scheduler)
    refusal.unlink()
    lab.start_scheduler("--no-cpu", "--slots-per-gpu", "1", **of_gpus)
    for one in (run, other):
        lab.wait_for(one, JobState.SUCCEEDED)
        lab.assert_ran_once(one)
    job = lab.job(run)
    # The try that the GPU ended is given back.
    assert (job.attempts, job.max_attempts) == (2, MAX_ATTEMPTS + 1)
    assert cli(["status", "--project", str(lab.project.root)]) == EXIT_OK


def test_a_probe_outlives_its_scheduler_by_no_more_than_its_limit_and_leaves_no_orphan(lab: Lab) -> None:
    lab.enqueue(lab.spec())
    scheduler = lab.start_scheduler(
        "--probe", "tests.faults.fake_worker:hang", through=["tests.faults.fake_gpus"]
    )
    lab.wait(lambda: lab.processes("gpu_probes"))
    lab.kill(scheduler)
    assert lab.client.orphans() == []
    # The slot is its, so that no other project starts a run beside it.
    (holder,) = read_holders(Path(os.environ["DATASIZE_SLOTS_DIR"]))
    assert holder.device == GPU
