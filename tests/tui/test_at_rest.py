"""An app on which nothing happens reads next to nothing, and what does happen is seen at the next look."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from tests.fakes import fake_sweep, write_run
from tests.tui.fake_queue import CPU_ONLY
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.queue.commands import CommandKind
from tui_datasize.jobs.rebuild import repair
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.runlog.reader import RunLog
from tui_datasize.tui.polling import collect, record
from tui_datasize.tui.polling.collect import Collector
from tui_datasize.tui.polling.record import ProjectRecord
from tui_datasize.tui.polling.snapshot import Interest, Snapshot

FINISHED = 20
_LONG_AGO_NS = 10**18


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Finished runs, one that was interrupted, and a queue that knows them."""
    project = ProjectPaths(tmp_path_factory.mktemp("pristine"))
    *finished, interrupted = fake_sweep()[: FINISHED + 1]
    for spec in finished:
        write_run(project, spec, tables=False)
    write_run(project, interrupted, state="interrupted", evaluations=1, tables=False)
    repair(project)
    return project.root


@pytest.fixture
def project(tmp_path: Path, pristine: Path) -> ProjectPaths:
    """A copy in which nothing has changed lately."""
    project = ProjectPaths(shutil.copytree(pristine, tmp_path / "project"))
    age(project)
    return project


def age(project: ProjectPaths) -> None:
    for directory in (project.runs, *project.runs.glob("*")):
        os.utime(directory, ns=(_LONG_AGO_NS, _LONG_AGO_NS))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the queue and the run directories were read, and the rows of the table made."""
    counted: Counter[str] = Counter()

    def count(owner: Any, name: str) -> None:
        original: Callable[..., Any] = getattr(owner, name)

        def counting(*arguments: Any, **options: Any) -> Any:
            counted[name] += 1
            return original(*arguments, **options)

        monkeypatch.setattr(owner, name, counting)

    for owner, name in ((QueueClient, "jobs"), (QueueClient, "settings"), (QueueClient, "executions")):
        count(owner, name)
    count(RunLog, "runs")
    for name in ("read_facts", "_job_row", "_strangers", "_variants"):
        count(collect, name)
    return counted


def opened(project: ProjectPaths) -> Callable[[], Snapshot]:
    """Looks of a collector that has looked a few times already."""
    looker = Collector(project, QueueClient(project), lambda: ProjectRecord(project), lambda: CPU_ONLY)
    for _ in range(3):
        looker.collect(Interest())
    return lambda: looker.collect(Interest())


def test_where_nothing_happens_nothing_is_read(project: ProjectPaths, reads: Counter[str]):
    look = opened(project)
    first = look()
    reads.clear()
    seen = [look() for _ in range(10)]
    assert not reads
    assert all(snapshot.jobs is first.jobs and snapshot.states is first.states for snapshot in seen)
    assert len(first.jobs) == len(first.facts) == FINISHED + 1


def test_the_first_look_loads_no_library_that_takes_long(project: ProjectPaths):
    looking = f"""
        import sys
        from pathlib import Path
        from tui_datasize.jobs.client import QueueClient
        from tui_datasize.runlog.paths import ProjectPaths
        from tui_datasize.tui.polling.collect import Collector
        from tui_datasize.tui.polling.snapshot import Interest
        project = ProjectPaths(Path({str(project.root)!r}))
        looker = Collector(project, QueueClient(project), None, None)
        assert len(looker.look(Interest()).jobs) == {FINISHED + 1}
        assert not {{"polars", "numpy", "scipy"}} & sys.modules.keys()
    """
    subprocess.run([sys.executable, "-c", dedent(looking)], check=True)


def test_what_is_asked_of_the_queue_is_seen_at_the_next_look(project: ProjectPaths):
    look = opened(project)
    spec = fake_sweep()[FINISHED + 2]
    QueueClient(project).enqueue([spec])
    assert spec.run_id in look().states
    QueueClient(project).send(CommandKind.DRAIN, [""], 1)
    assert look().draining


def test_runs_that_come_and_go_are_seen_at_the_next_look(project: ProjectPaths):
    look = opened(project)
    paths = write_run(project, fake_sweep()[FINISHED + 3], tables=False)
    assert paths.run_id in look().facts
    age(project)
    look()
    shutil.rmtree(paths.directory)
    assert paths.run_id not in look().facts


def test_a_run_that_goes_on_is_seen_at_the_next_look(project: ProjectPaths):
    look = opened(project)
    spec = fake_sweep()[FINISHED]
    before = look().facts[spec.run_id].updates
    write_run(project, spec, state="interrupted", evaluations=2, tables=False)
    age(project)
    assert look().facts[spec.run_id].updates > before


def test_a_directory_that_changed_just_now_is_looked_at_again(project: ProjectPaths, reads: Counter[str]):
    look = opened(project)
    os.utime(project.runs / "digits")
    reads.clear()
    for _ in range(3):
        look()
    # What is written within the same tick of the file system's clock changes no time.
    assert reads["runs"] == 3


def test_whatever_changes_in_a_finished_run_is_seen_now_and_then(project: ProjectPaths):
    look = opened(project)
    spec = fake_sweep()[0]
    project.run("digits", spec.run_id).exit.unlink()
    assert any(look().facts[spec.run_id].state.value != "succeeded" for _ in range(record._LOOKS_BETWEEN))


def test_a_queue_that_is_made_anew_is_read_again(project: ProjectPaths, reads: Counter[str]):
    watch = QueueClient(project).watch()
    first = watch.version()
    assert watch.version() == first
    for suffix in ("", "-wal", "-shm"):
        project.queue.with_name(project.queue.name + suffix).unlink(missing_ok=True)
    missing = watch.version()
    assert missing != first
    assert watch.version() == missing
    repair(project)
    assert watch.version() not in (first, missing)
    watch.close()
