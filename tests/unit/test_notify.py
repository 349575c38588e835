"""The notification command: facts in its environment, no shell in them, and never in the scheduler's way."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from tests.unit.test_store import new_job
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.jobs.queue.store import Store
from tui_datasize.jobs.scheduler.notify import Notifier
from tui_datasize.runlog.paths import ProjectPaths

HOSTILE = "out of memory'; touch hacked; $(touch hacked) `touch hacked` \n\" &"


@pytest.fixture
def store(project: ProjectPaths) -> Iterator[Store]:
    with closing(Store(project.queue)) as store:
        yield store


def fail(store: Store, run_id: str, reason: str) -> None:
    store.add(new_job(run_id))
    with store.transaction():
        store.change(run_id, JobState.FAILED, reason)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def tell_all(notifier: Notifier) -> None:
    def is_done() -> bool:
        notifier.poll()
        return not notifier.is_busy()

    until(is_done)


def configure(project: ProjectPaths, command: str) -> None:
    project.experiments.write_text(f"notify = '''{command}'''\n")


def test_the_facts_come_in_the_environment_and_are_no_shell(store: Store, project: ProjectPaths) -> None:
    command = 'printf "%s|%s|%s|%s|%s\\n" "$DATASIZE_EVENT" "$DATASIZE_EXPERIMENT" "$DATASIZE_RUN_ID"'
    configure(project, f'{command} "$DATASIZE_SUCCEEDED/$DATASIZE_FAILED" "$DATASIZE_REASON" >> told')
    store.add(new_job("done", JobState.SUCCEEDED))
    fail(store, "r1", HOSTILE)
    tell_all(Notifier(store, project))
    told = (project.root / "told").read_text()
    assert f"job-failed|letters|r1|1/1|{HOSTILE}\n" in told
    assert "experiment-ended|letters||1/1|\n" in told
    assert not (project.root / "hacked").exists()


def test_nothing_is_told_twice_even_by_another_scheduler(store: Store, project: ProjectPaths) -> None:
    configure(project, 'echo "$DATASIZE_EVENT" >> told')
    fail(store, "r1", "no")
    tell_all(Notifier(store, project))
    with closing(Store(project.queue)) as another:
        tell_all(Notifier(another, project))
    assert sorted((project.root / "told").read_text().split()) == ["experiment-ended", "job-failed"]


def test_a_command_that_hangs_is_ended_with_its_children(
    store: Store, project: ProjectPaths, caplog: pytest.LogCaptureFixture
) -> None:
    configure(project, "echo $$ > pid; sleep 600 & sleep 600")
    fail(store, "r1", "no")
    notifier = Notifier(store, project, timeout_s=0.3)
    began = time.monotonic()
    notifier.poll()
    assert time.monotonic() - began < 30
    tell_all(notifier)
    assert "notifying of job-failed r1: took longer than 0.3 s" in caplog.text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("notify = 'exit 3'", "notifying of job-failed r1: the command ended with status 3"),
        ("notify = 3", "not notified of job-failed r1: "),
        ("notify = [", "not valid TOML"),
    ],
)
def test_a_command_that_fails_is_logged_and_forgotten(
    store: Store, project: ProjectPaths, caplog: pytest.LogCaptureFixture, text: str, said: str
) -> None:
    project.experiments.write_text(text)
    fail(store, "r1", "no")
    tell_all(Notifier(store, project))
    assert said in caplog.text
    assert not store.has_notices()


def test_without_a_command_nothing_piles_up(
    store: Store, project: ProjectPaths, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for number in range(20):
        fail(store, str(number), "no")
    tell_all(Notifier(store, project))
    assert not store.has_notices()
    assert caplog.text == ""


def test_many_failures_are_told_a_few_at_a_time(store: Store, project: ProjectPaths) -> None:
    configure(project, "until [ -e gate ]; do sleep 0.01; done; echo x >> told")
    for number in range(9):
        fail(store, str(number), "no")
    notifier = Notifier(store, project)
    notifier.poll()
    notifier.poll()
    assert len(store.notices.take(100)) == 6
    (project.root / "gate").touch()
    tell_all(notifier)
    assert len((project.root / "told").read_text().split()) == 4
