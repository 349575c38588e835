"""Whose turn it is among schedulers that wait for slots."""

from pathlib import Path

import pytest

from tui_datasize.jobs.scheduler import waiting_projects
from tui_datasize.jobs.scheduler.waiting_projects import WaitingProjects


@pytest.fixture
def clock(monkeypatch):
    """A clock that only moves when it is told to."""

    class Clock:
        now_s = 1000.0

        def monotonic(self):
            return self.now_s

    clock = Clock()
    monkeypatch.setattr(waiting_projects, "time", clock)
    return clock


def test_alone_nobody_yields(tmp_path, clock):
    one = WaitingProjects(tmp_path, Path("/one"))
    assert not one.give_way(3, free=1)
    one.wait(3)
    assert not one.give_way(3, free=1)


def test_who_has_less_goes_first_then_who_was_served_longer_ago(tmp_path, clock):
    one, two = WaitingProjects(tmp_path, Path("/one")), WaitingProjects(tmp_path, Path("/two"))
    one.note_served()
    one.wait(1)
    two.wait(0)
    assert one.give_way(1, free=1)
    assert not two.give_way(0, free=1)
    clock.now_s += 1
    two.note_served()
    two.wait(1)
    assert not one.give_way(1, free=1)
    assert two.give_way(1, free=1)
    one.leave()
    assert not two.give_way(1, free=1)


def test_a_slot_is_left_to_others_for_a_moment_only(tmp_path, clock):
    one, two = WaitingProjects(tmp_path, Path("/one")), WaitingProjects(tmp_path, Path("/two"))
    two.wait(0)
    assert one.give_way(1, free=1)
    clock.now_s += waiting_projects._YIELD_S
    two.wait(0)
    assert not one.give_way(1, free=1)


def test_a_scheduler_that_hangs_or_is_gone_keeps_nobody_waiting(tmp_path, clock):
    one, two = WaitingProjects(tmp_path, Path("/one")), WaitingProjects(tmp_path, Path("/two"))
    two.wait(0)
    clock.now_s += waiting_projects._FRESH_S
    assert not one.give_way(1, free=1)
    two.wait(0)
    assert one.give_way(1, free=1)
    two.leave()
    assert not one.give_way(1, free=1)
    (tmp_path / "waiting" / "torn").write_text("[0, 0.")
    assert not one.give_way(1, free=1)


def test_each_slot_is_left_to_others_anew(tmp_path, clock):
    """Of three: the moment that was left to the second is not held against the third."""
    one, two, three = (WaitingProjects(tmp_path, Path(name)) for name in ("/one", "/two", "/three"))
    one.note_served()
    two.wait(0)
    three.wait(0)
    assert one.give_way(1, free=1)
    two.leave()
    assert not one.give_way(1, free=0)
    clock.now_s += waiting_projects._YIELD_S
    three.wait(0)
    assert one.give_way(0, free=1)
