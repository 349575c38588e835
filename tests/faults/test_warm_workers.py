"""Workers forked from a preloader behave as plain ones, and outlive whoever started them."""

from __future__ import annotations

import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path

import polars as pl
import pytest

from tests.faults.lab import Lab, is_alive
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.jobs.scheduler.slots import slot_directory, take_slots
from tui_datasize.jobs.workers import preloader
from tui_datasize.runlog.claim import TAG_VARIABLE, read_claim

pytestmark = pytest.mark.faults

PRELOADER = "workers.preloader"


def test_every_run_ends_exactly_once(warm_lab: Lab) -> None:
    runs = warm_lab.enqueue(*(warm_lab.spec(seed) for seed in range(16)))
    warm_lab.start_scheduler()
    warm_lab.wait_until_over()
    for run in runs:
        assert warm_lab.job(run).state is JobState.SUCCEEDED
        warm_lab.assert_ran_once(run)


def test_a_worker_has_its_own_session_environment_and_logs(warm_lab: Lab) -> None:
    (run,) = warm_lab.enqueue(warm_lab.spec(gate=str(warm_lab.gate())))
    warm_lab.start_scheduler()
    pid = warm_lab.worker_pid(run)
    claim = read_claim(run)
    assert claim is not None
    assert os.getsid(pid) == pid
    # As /proc shows it, which is where leftovers are looked for.
    assert f"{TAG_VARIABLE}={claim.tag}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    assert Path(f"/proc/{pid}/fd/2").readlink() == run.stderr
    targets = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
    assert not any("socket" in target or "pidfd" in target for target in targets)
    assert sum("slots" in target for target in targets) == 1


def test_a_worker_outlives_scheduler_and_preloader(warm_lab: Lab) -> None:
    (run,) = warm_lab.enqueue(warm_lab.spec(gate=str(warm_lab.gate())))
    scheduler = warm_lab.start_scheduler()
    warm_lab.wait_for(run, JobState.RUNNING)
    (preloader,) = [pid for pid in warm_lab.processes(PRELOADER) if pid != warm_lab.worker_pid(run)]
    warm_lab.kill(scheduler)
    warm_lab.wait(lambda: not is_alive(preloader))
    warm_lab.start_scheduler()
    warm_lab.gate().touch()
    assert warm_lab.wait_for(run, JobState.SUCCEEDED).attempts == 1
    warm_lab.assert_ran_once(run)


def test_a_killed_preloader_is_replaced_and_its_workers_go_on(warm_lab: Lab) -> None:
    first, second = warm_lab.enqueue(warm_lab.spec(0, gate=str(warm_lab.gate())), warm_lab.spec(1))
    warm_lab.start_scheduler("--cpu-slots", "1")
    warm_lab.wait_for(first, JobState.RUNNING)
    (preloader,) = [pid for pid in warm_lab.processes(PRELOADER) if pid != warm_lab.worker_pid(first)]
    os.kill(preloader, signal.SIGKILL)
    warm_lab.wait(lambda: not is_alive(preloader))
    warm_lab.gate().touch()
    assert warm_lab.wait_for(first, JobState.SUCCEEDED).attempts == 1
    assert warm_lab.wait_for(second, JobState.SUCCEEDED).attempts == 1
    assert preloader not in warm_lab.processes(PRELOADER)
    assert warm_lab.processes(PRELOADER)


def test_a_preloader_that_hangs_is_replaced_and_costs_its_job_nothing(warm_lab: Lab) -> None:
    first, second = warm_lab.enqueue(warm_lab.spec(0, gate=str(warm_lab.gate())), warm_lab.spec(1))
    warm_lab.start_scheduler("--answer-s", "0.3", "--cpu-slots", "1")
    preloader = parent_of(warm_lab.worker_pid(first))
    warm_lab.wait_for(first, JobState.RUNNING)
    os.kill(preloader, signal.SIGSTOP)
    warm_lab.gate().touch()
    job = warm_lab.wait_for(second, JobState.SUCCEEDED)
    assert not is_alive(preloader)
    assert (job.attempts, job.max_attempts) == (2, 4)
    assert "does not answer; it is replaced" in warm_lab.log()
    warm_lab.assert_ran_once(first)
    warm_lab.assert_ran_once(second)


def stopped_preloader(lab: Lab) -> int:
    """The preloader of a scheduler with one slot, which has forked a worker and stands still."""
    (first,) = lab.enqueue(lab.spec())
    lab.start_scheduler("--cpu-slots", "1")
    lab.wait_for(first, JobState.SUCCEEDED)
    (preloader,) = lab.processes(PRELOADER)
    os.kill(preloader, signal.SIGSTOP)
    return preloader


def test_a_slot_that_was_deleted_on_its_way_to_a_worker_is_not_used(warm_lab: Lab) -> None:
    """Nobody can see who has it then: others take it, and the worker waits for the next one."""
    preloader, slots = stopped_preloader(warm_lab), slot_directory()
    (run,) = warm_lab.enqueue(warm_lab.spec(1))
    warm_lab.wait_for(run, JobState.STARTING)
    # It is on its way once its scheduler has no copy any more.
    warm_lab.wait(lambda: not any_has_open(slots / "cpu.0"))
    (slots / "cpu.0").unlink()
    (slot,) = take_slots(slots, "cpu", 1, 1, Path("/other"))
    os.kill(preloader, signal.SIGCONT)
    assert "moved or deleted" in warm_lab.wait_for(run, JobState.INTERRUPTED).reason
    assert not warm_lab.executions(run)
    slot.close()
    job = warm_lab.wait_for(run, JobState.SUCCEEDED)
    assert (job.attempts, job.max_attempts) == (2, 4)
    warm_lab.assert_ran_once(run)


def any_has_open(file: Path) -> bool:
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if link.readlink() == file:
                return True
    return False


def test_a_preloader_that_cannot_take_a_slot_forks_nobody(warm_lab: Lab) -> None:
    preloader = stopped_preloader(warm_lab)
    most = resource.prlimit(preloader, resource.RLIMIT_NOFILE)
    few = len(list(Path(f"/proc/{preloader}/fd").iterdir()))
    resource.prlimit(preloader, resource.RLIMIT_NOFILE, (few, most[1]))
    (run,) = warm_lab.enqueue(warm_lab.spec(1, gate=str(warm_lab.gate())))
    os.kill(preloader, signal.SIGCONT)
    warm_lab.wait(lambda: any("Too many open files" in fault.sentence for fault in warm_lab.client.faults()))
    assert not warm_lab.executions(run)
    resource.prlimit(preloader, resource.RLIMIT_NOFILE, most)
    warm_lab.wait_for(run, JobState.RUNNING)
    assert parent_of(warm_lab.worker_pid(run)) == preloader
    warm_lab.gate().touch()
    warm_lab.wait_for(run, JobState.SUCCEEDED)
    warm_lab.assert_ran_once(run)


def test_a_preloader_ends_with_its_scheduler_in_the_middle_of_an_import(
    warm_lab: Lab, edited_worker: Path, tmp_path: Path
) -> None:
    loading = tmp_path / "loading"
    edited_worker.write_text(
        f"import os, time\nfrom pathlib import Path\nPath({str(loading)!r}).write_text(str(os.getpid()))\n"
        "time.sleep(120)\n"
    )
    warm_lab.enqueue(warm_lab.spec())
    scheduler = warm_lab.start_scheduler("--call", "edited.worker:main")
    warm_lab.wait(lambda: loading.exists() and loading.read_text())
    preloader = int(loading.read_text())
    assert is_alive(preloader)
    warm_lab.kill(scheduler)
    warm_lab.wait(lambda: not is_alive(preloader))


def test_the_signal_that_killed_a_worker_is_reported(warm_lab: Lab) -> None:
    (run,) = warm_lab.enqueue(warm_lab.spec(behaviour="die", deaths=3))
    warm_lab.start_scheduler()
    assert "killed by signal 9 (SIGKILL)" in warm_lab.wait_for(run, JobState.FAILED).reason


def test_a_child_that_keeps_the_lock_of_a_dead_worker_is_killed(warm_lab: Lab) -> None:
    (run,) = warm_lab.enqueue(warm_lab.spec(behaviour="leave child", escape=True))
    warm_lab.start_scheduler()
    assert warm_lab.wait_for(run, JobState.SUCCEEDED).attempts == 2
    assert not is_alive(int((run.directory / "child.pid").read_text()))


def test_polars_loaded_before_the_fork_works_after_it(warm_lab: Lab) -> None:
    runs = warm_lab.enqueue(*(warm_lab.spec(seed) for seed in range(12)))
    warm_lab.start_scheduler("--call", "tests.faults.polars_worker:main")
    warm_lab.wait_until_over()
    for run in runs:
        assert warm_lab.job(run).state is JobState.SUCCEEDED, warm_lab.job(run).reason
        assert warm_lab.job(run).attempts == 1
        # Forked, not imported: the threads of an import are not there.
        assert len((run.directory / "threads").read_text().split()) == 1
        assert pl.read_parquet_schema(run.subset).keys() >= {"index", "label", "hash"}


@pytest.fixture
def edited_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a worker that a test may change: module `edited.worker`."""
    package = tmp_path / "path" / "edited"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", f"{package.parent}{os.pathsep}{os.environ['PYTHONPATH']}")
    file = package / "worker.py"
    file.write_text("from tests.faults.fake_worker import main\n")
    return file


def test_a_preloader_whose_code_changes_is_replaced(warm_lab: Lab, edited_worker: Path) -> None:
    (run,) = warm_lab.enqueue(warm_lab.spec(gate=str(warm_lab.gate())))
    warm_lab.start_scheduler("--call", "edited.worker:main", "--cpu-slots", "1")
    pid = warm_lab.worker_pid(run)
    first = parent_of(pid)
    os.utime(edited_worker, ns=(1, 1))
    # A job that waits has the scheduler look at its preloader.
    (other,) = warm_lab.enqueue(warm_lab.spec(1))
    warm_lab.wait(lambda: set(warm_lab.processes(PRELOADER)) - {pid, first})
    assert is_alive(first)
    warm_lab.gate().touch()
    assert warm_lab.wait_for(run, JobState.SUCCEEDED).attempts == 1
    assert warm_lab.wait_for(other, JobState.SUCCEEDED).attempts == 1
    # It was kept for as long as it had a worker to tell of.
    warm_lab.wait(lambda: not is_alive(first))


def test_a_preloader_whose_code_changes_while_it_loads_is_not_used(
    warm_lab: Lab, edited_worker: Path, tmp_path: Path
) -> None:
    loaded = tmp_path / "loaded"
    change = f"if not Path({str(loaded)!r}).exists(): os.utime(__file__, ns=(1, 1))"
    note = f"Path({str(loaded)!r}).open('a').write(f'{{os.getpid()}} ')"
    edited_worker.write_text(
        f"import os\nfrom pathlib import Path\n{change}\n{note}\n{edited_worker.read_text()}"
    )
    (run,) = warm_lab.enqueue(warm_lab.spec(gate=str(warm_lab.gate())))
    warm_lab.start_scheduler("--call", "edited.worker:main")
    used = parent_of(warm_lab.worker_pid(run))
    warm_lab.gate().touch()
    assert warm_lab.wait_for(run, JobState.SUCCEEDED).attempts == 1
    changed, *later = map(int, loaded.read_text().split())
    assert used != changed
    assert used in later


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.parametrize(
    ("preload", "why"),
    [
        ("no_such_module", "No module named 'no_such_module'"),
        ("tests.faults.threaded_module", "the imported modules run threads"),
        ("tests.faults.cuda_module", "the imported modules have initialised CUDA"),
    ],
)
def test_workers_start_cold_where_no_preloader_can_be_had(warm_lab: Lab, preload: str, why: str) -> None:
    (run,) = warm_lab.enqueue(warm_lab.spec(gate=str(warm_lab.gate())))
    scheduler = warm_lab.start_scheduler("--preload", preload)
    assert parent_of(warm_lab.worker_pid(run)) == scheduler.pid
    warm_lab.gate().touch()
    assert warm_lab.wait_for(run, JobState.SUCCEEDED).attempts == 1
    assert why in warm_lab.log()
    assert warm_lab.log().count("workers start cold from now on") == 1


@pytest.mark.parametrize("missing", ["stdout", "stderr", "directory"])
def test_a_worker_whose_place_is_gone_says_so_in_a_line(missing: str, tmp_path: Path) -> None:
    request = {"stdout": str(tmp_path / "out"), "stderr": str(tmp_path / "err"), "directory": str(tmp_path)}
    request[missing] = str(tmp_path / "gone" / "place")
    pid = os.fork()
    if pid == 0:
        sys.stderr = (tmp_path / "told").open("w", buffering=1)
        os._exit(preloader._is_in_place(request))
    assert os.waitpid(pid, 0)[1] == 0
    told = (tmp_path / "told").read_text().splitlines()
    assert len(told) == 1
    assert "gone/place" in told[0]
