"""The probe of a GPU that the queue makes, with torch: what it says is about the device."""

from __future__ import annotations

import os
import time
from contextlib import closing
from pathlib import Path

import pytest

from tui_datasize.jobs.scheduler.gpu_probes import PROBE_CALL, _request, probe_now, verdict
from tui_datasize.jobs.scheduler.main import SchedulerSettings
from tui_datasize.jobs.workers.spawn import ColdSpawner
from tui_datasize.jobs.workers.warm import WarmSpawner
from tui_datasize.runlog.paths import ProjectPaths

DEADLINE_S = 240.0
ABSENT = "MIG-00000000-0000-0000-0000-000000000000"
OF_THE_DEVICE = (
    "this torch is a build without CUDA; install a torch that is built for CUDA",
    "no NVIDIA driver is loaded",
    "torch does not see the GPU",
)
"""On a machine without a GPU, by what torch was built for, and on one with others."""

pytestmark = [pytest.mark.faults, pytest.mark.long]


def test_a_probe_of_its_own_process_takes_no_cpu_for_a_gpu_and_tells_what_is_wrong_with_the_device() -> None:
    assert probe_now(ABSENT, ()).startswith(OF_THE_DEVICE)


# The probe itself is that of the test above, and forking one that of `test_machine_faults`.
@pytest.mark.exhaustive
def test_a_probe_forked_from_the_preloader_tells_the_same(tmp_path: Path) -> None:
    settings = SchedulerSettings(ProjectPaths(tmp_path))
    said = tmp_path / "said"
    with (
        # All that workers import is in the preloader of the real sweep.
        closing(WarmSpawner(["torch"], settings.call, ColdSpawner(["false"]), 60.0)) as spawner,
        said.open("w+") as output,
    ):
        _wait(spawner.make_ready, spawner)
        worker = spawner.start(_request(PROBE_CALL, ABSENT, (), output.fileno()))
        _wait(lambda: worker.is_gone, spawner)
        assert worker.process is not None
        assert worker.process.pid != os.getpid()
        assert worker.status == 1
        assert verdict(worker.status, said.read_text()).startswith(OF_THE_DEVICE)


def _wait(condition, spawner: WarmSpawner) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        spawner.poll()
        time.sleep(0.02)
