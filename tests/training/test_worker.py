"""The worker as a process: claims first, leaves in order, and ends with a reason a person can act on."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import pytest
import torch
from PIL import Image

from tests.training.helpers import evaluations, read_rows, small_spec, train, train_until
from tui_datasize.errors import EXIT_BAD_INPUT, EXIT_OK, EXIT_RUN_FAILED, SHORT_OF_DISK, SHORT_OF_HOST
from tui_datasize.experiments.spec import Budget, ModelSpec, OptimizerSpec
from tui_datasize.files import TooLarge
from tui_datasize.jobs.queue.database import PASSING_ERRNOS
from tui_datasize.jobs.workers.spawn import SCARCITIES
from tui_datasize.runlog import writer
from tui_datasize.runlog.claim import Lack, RunOutcome, read_exit
from tui_datasize.training import failures
from tui_datasize.training.lane import tell_log
from tui_datasize.training.stop import StopRequest, StopRequested
from tui_datasize.training.worker import main

WORKER = [sys.executable, "-m", "tui_datasize.training"]


def end_of(paths):
    record = json.loads(paths.exit.read_text())
    return record["outcome"], record["reason"]


def test_a_run_succeeds(queue_run, capfd):
    paths = queue_run(small_spec())
    assert main([str(paths.directory)]) == EXIT_OK
    assert end_of(paths) == ("succeeded", "")
    assert json.loads(paths.claim.read_text())["attempt"] == 1
    assert paths.checkpoint.is_file()
    assert capfd.readouterr().err == ""


def test_several_runs_in_one_process_equal_the_same_runs_alone(queue_run):
    first, second = small_spec(), small_spec(model=ModelSpec("cnn3", {"width": 4}), seed=3)
    together = [queue_run(first), queue_run(second)]
    alone = queue_run(second)
    assert main([str(paths.directory) for paths in together]) == EXIT_OK
    assert main([str(alone.directory)]) == EXIT_OK
    assert evaluations(together[1]) == evaluations(alone)


def test_a_run_that_fails_does_not_stop_the_next_one(queue_run):
    bad, good = queue_run(small_spec(dataset="imagefolder:/nowhere")), queue_run(small_spec())
    assert main([str(bad.directory), str(good.directory)]) == EXIT_RUN_FAILED
    assert end_of(bad)[0] == "failed"
    assert end_of(good) == ("succeeded", "")


def test_a_run_that_succeeded_is_left_alone(queue_run):
    paths = queue_run(small_spec())
    assert main([str(paths.directory)]) == EXIT_OK
    before = paths.exit.read_bytes()
    done = subprocess.run([*WORKER, str(paths.directory)], capture_output=True, text=True, check=False)
    assert done.returncode == EXIT_OK
    assert "left alone" in done.stdout
    assert paths.exit.read_bytes() == before


def test_the_claim_comes_before_anything_heavy(queue_run):
    paths = queue_run(small_spec())
    code = (
        "import sys\n"
        "from tui_datasize.training import worker\n"
        "def acquire(*_):\n"
        "    heavy = ('torch', 'polars', 'numpy', 'torchvision', 'sklearn')\n"
        "    print([name for name in heavy if name in sys.modules])\n"
        "    raise worker.ClaimRefused('seen enough')\n"
        "worker.acquire = acquire\n"
        "sys.exit(worker.main(sys.argv[1:]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(paths.directory)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[0] == "[]"


@pytest.mark.long
def test_a_run_that_was_asked_to_leave_ends_bit_for_bit_the_same(queue_run):
    spec = small_spec(model=ModelSpec("cnn3", {"width": 4}), budget=Budget("updates", 180), evaluations=15)
    whole, broken = queue_run(spec), queue_run(spec)

    def ask() -> None:
        while not broken.metrics.is_file() or len(broken.metrics.read_bytes()) <= 1000:
            time.sleep(0.01)
        for number in (signal.SIGHUP, signal.SIGTERM):
            os.kill(os.getpid(), number)

    asking = Thread(target=ask, daemon=True)
    asking.start()
    assert main([str(broken.directory)]) == EXIT_OK
    asking.join()
    assert end_of(broken) == ("interrupted", "asked to leave")
    assert 0 < max(row["update"] for row in read_rows(broken)) < 180

    assert main([str(broken.directory)]) == EXIT_OK
    assert json.loads(broken.exit.read_text())["attempt"] == 2
    train(whole)
    assert evaluations(broken) == evaluations(whole)


@pytest.mark.parametrize("leaves_checkpoint", [False, True])
def test_an_attempt_that_was_killed_is_told_by_the_next_one(queue_run, capfd, leaves_checkpoint):
    paths = queue_run(small_spec())
    with subprocess.Popen([*WORKER, str(paths.directory)], stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        assert "attempt 1, process" in worker.stdout.readline()
        worker.kill()
    assert not paths.exit.exists()
    if leaves_checkpoint:
        paths.checkpoint.write_bytes(b"torn")
    assert main([str(paths.directory)]) == EXIT_OK
    told = capfd.readouterr().out.splitlines()
    anew = "" if leaves_checkpoint else "; it left no checkpoint: begun anew"
    assert told[0] == f"{paths.run_id}: attempt 1 was killed, or its machine went down{anew}"
    assert "attempt 2, process" in told[1]


def test_a_request_to_leave_while_preparing_is_answered_at_once(queue_run, monkeypatch):
    from tui_datasize.training import prepare as module

    waiting, next_run = queue_run(small_spec()), queue_run(small_spec(seed=1))

    def download_for_ever(*_):
        os.kill(os.getpid(), signal.SIGTERM)
        while True:
            time.sleep(1)

    monkeypatch.setattr(module, "load_dataset", download_for_ever)
    assert main([str(waiting.directory), str(next_run.directory)]) == EXIT_OK
    assert end_of(waiting)[0] == "interrupted"
    assert not next_run.claim.exists()


def test_signal_handlers_are_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest().listening():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_second_request_does_not_interrupt_the_answer_to_the_first():
    stop, answered = StopRequest(), []

    def ask_twice():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)
            answered.append(stop.requested)

    with stop.listening(), pytest.raises(StopRequested), stop.at_once():
        ask_twice()
    assert answered == [True]


def fails_with(paths, capfd):
    """Run a worker that fails; its reason, after checking that no traceback stands where a line does."""
    assert main([str(paths.directory)]) == EXIT_RUN_FAILED
    outcome, reason = end_of(paths)
    assert outcome == "failed"
    assert "\n" not in reason
    assert reason in capfd.readouterr().err
    return reason


def test_a_missing_folder_is_named(queue_run, capfd):
    reason = fails_with(queue_run(small_spec(dataset="imagefolder:/nowhere/pets")), capfd)
    assert "/nowhere/pets" in reason


def test_an_image_that_cannot_be_decoded_is_named(queue_run, tmp_path, capfd):
    for split in ("train", "test"):
        for name in ("a", "b"):
            folder = tmp_path / "pets" / split / name
            folder.mkdir(parents=True)
            Image.new("L", (8, 8)).save(folder / "0.png")
    broken = tmp_path / "pets" / "test" / "b" / "0.png"
    broken.write_bytes(b"not a picture")
    reason = fails_with(
        queue_run(small_spec(dataset=f"imagefolder:{tmp_path / 'pets'}", train_size=2)), capfd
    )
    assert str(broken) in reason
    assert "cannot be decoded" in reason


def test_a_loss_that_is_no_number_is_told(queue_run, capfd):
    spec = small_spec(optimizer=OptimizerSpec("sgd", lr=1e30), clip_grad_norm=None)
    assert "loss became" in fails_with(queue_run(spec), capfd)


def test_a_size_beyond_the_data_set_is_told(queue_run, capfd):
    assert "2000" in fails_with(queue_run(small_spec(train_size=2000)), capfd)


def test_a_full_disk_is_told(queue_run, capfd, monkeypatch):
    def open_full(_path, mode, **how):
        return Path("/dev/full").open(mode, **how)

    monkeypatch.setattr(writer, "open_regular", open_full)
    paths = queue_run(small_spec())
    assert main([str(paths.directory)]) != EXIT_OK
    end = read_exit(paths)
    assert (end.outcome, end.lack) == (RunOutcome.INTERRUPTED, Lack.DISK)
    assert end.reason.startswith("disk full: ")
    assert end.reason in capfd.readouterr().err


def test_a_limit_of_file_sizes_is_the_machines_fault_and_no_traceback(queue_run, capfd):
    paths = queue_run(small_spec())
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Enough for an end, and for no checkpoint.
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        assert main([str(paths.directory)]) != EXIT_OK
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    end = read_exit(paths)
    assert (end.outcome, end.lack) == (RunOutcome.INTERRUPTED, Lack.DISK)
    assert "raise `ulimit -f`" in end.reason
    told = capfd.readouterr().err
    assert end.reason in told
    assert "Traceback" not in told


@pytest.mark.parametrize("number", sorted(SHORT_OF_HOST | SHORT_OF_DISK))
def test_what_the_machine_lacks_is_told_with_what_helps_and_held_against_no_run(number, capsys):
    error = OSError(number, os.strerror(number))
    assert failures.lack(error) is (Lack.DISK if number in SHORT_OF_DISK else Lack.HOST)
    assert number in PASSING_ERRNOS & SCARCITIES
    tell_log(error)
    (line,) = capsys.readouterr().err.splitlines()
    assert os.strerror(number) in line
    assert "[Errno" not in line


def test_a_file_of_more_bytes_than_its_kind_has_is_no_lack_of_the_machine(tmp_path):
    assert failures.lack(TooLarge(tmp_path, 10)) is Lack.NOTHING


def test_a_file_that_cannot_be_written_is_named(queue_run, capfd):
    paths = queue_run(small_spec())
    paths.metrics.symlink_to("/dev/full")
    assert fails_with(paths, capfd) == f"{paths.metrics}: not a regular file"


def test_a_damaged_specification_is_told(queue_run, capfd):
    paths = queue_run(small_spec())
    paths.spec.write_text('{"spec": {}}')
    assert str(paths.spec) in fails_with(paths, capfd)


def test_memory_that_runs_out_is_told_apart():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 55)
    assert failures.reason(caught.value).startswith("out of memory: ")
    on_gpu = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    assert failures.reason(on_gpu).startswith("out of memory: CUDA")
    assert not failures.ruins_process(on_gpu)
    assert failures.ruins_process(RuntimeError("CUDA error: an illegal memory access was encountered"))


def test_an_unexpected_error_names_its_type_and_leaves_its_traceback_in_the_log(
    queue_run, monkeypatch, capfd
):
    from tui_datasize.training import prepare as module

    monkeypatch.setattr(module, "load_dataset", lambda *_: {}["surprise"])
    paths = queue_run(small_spec())
    assert main([str(paths.directory)]) == EXIT_RUN_FAILED
    assert end_of(paths)[1] == "unexpected error: KeyError: 'surprise'; see stderr.log"
    assert "Traceback" in capfd.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["/nowhere/at/all"]], ids=["none", "missing"])
def test_wrong_usage_is_told(arguments, capsys):
    assert main(arguments) == EXIT_BAD_INPUT
    told = capsys.readouterr()
    assert told.out == ""
    assert "usage" in told.err or "/nowhere/at/all" in told.err


def test_a_wrong_attempt_number_is_told(queue_run, monkeypatch, capsys):
    monkeypatch.setenv("DATASIZE_ATTEMPT", "two")
    paths = queue_run(small_spec())
    assert main([str(paths.directory)]) == EXIT_BAD_INPUT
    assert "DATASIZE_ATTEMPT" in capsys.readouterr().err
    assert not paths.claim.exists()


def test_a_gpu_that_torch_does_not_see_interrupts_the_run_and_is_told(queue_run, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-0a1b2c3d-none")
    paths = queue_run(small_spec())
    assert main([str(paths.directory)]) == EXIT_RUN_FAILED
    end = read_exit(paths)
    assert end.outcome is RunOutcome.INTERRUPTED
    assert end.device_fault == end.reason != ""


@pytest.mark.gpu
def test_a_gpu_run_resumes_bit_for_bit(queue_run, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    spec = small_spec(model=ModelSpec("cnn3", {"width": 8}))
    whole, broken = queue_run(spec), queue_run(spec)
    train(whole)
    assert json.loads(whole.provenance.read_text())["device"] == torch.cuda.get_device_name()
    train_until(broken, 21)
    train(broken)
    assert evaluations(broken) == evaluations(whole)
