"""When a lease is lost and when it may be taken for lost: whatever happens, nobody writes into a run twice.

A worker, a file system and a scheduler under one clock that the test moves; what the kernel and the file
system do is done by the test.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_datasize.runlog import lease as leases
from tui_datasize.runlog.claim import RunOutcome, conclude, read_exit
from tui_datasize.runlog.lease import GIVE_UP_S, STALE_S, Lease
from tui_datasize.runlog.paths import RunPaths

Step: TypeAlias = tuple[str, float, float, bool]
_SECONDS = st.one_of(st.floats(0, 15), st.floats(0, 400), st.sampled_from([60.0, 61.0, 180.0, 181.0]))
_KINDS = st.sampled_from(["renew", "renew", "renew", "pass", "look", "write"])
_STEPS = st.lists(st.tuples(_KINDS, _SECONDS, _SECONDS, st.booleans()), max_size=40)
_SHORT = st.floats(0, GIVE_UP_S / 3 - 1)


class World:
    """One worker with a run, the clock of all, and what the file system has been told."""

    def __init__(self, paths: RunPaths, monkeypatch: pytest.MonkeyPatch) -> None:
        self.paths, self.now_s, self.ends_s = paths, 1000.0, float("inf")
        self.freed_s: float | None = None
        self.delays: tuple[float, float, bool] = (0.0, 0.0, True)
        monkeypatch.setattr(leases, "_date", self._date)
        monkeypatch.setattr(leases, "file_system_time", lambda _directory: self.now_s)
        lease = Lease.take(paths, 1)
        assert lease
        lease.clock, lease.end_within, lease.give_up = self._clock, self._end_within, self._give_up
        lease.renewed_s = self.now_s
        self.lease = lease
        self._stamp()
        lease._live_on_from(self.now_s)

    def _clock(self) -> float:
        return self.now_s

    def _end_within(self, seconds: float) -> None:
        # Whoever was stopped wakes too late to ask for more.
        if self.is_alive():
            self.ends_s = self.now_s + seconds

    def _give_up(self, _status: int) -> None:
        self.ends_s = min(self.ends_s, self.now_s)

    def is_alive(self) -> bool:
        return self.now_s < self.ends_s

    def _stamp(self) -> None:
        if self.paths.lease(1).exists():
            os.utime(self.paths.lease(1), (self.now_s, self.now_s))

    def _date(self, _file: int | Path) -> None:
        """Wait, renew or not, and wait for the answer."""
        before_s, behind_s, works = self.delays
        self.now_s += before_s
        if works and self.paths.lease(1).exists():
            self._stamp()
        self.now_s += behind_s
        if not works or not self.is_alive():
            raise OSError

    def renew(self, before_s: float, behind_s: float, works: bool) -> None:
        if self.is_alive():
            self.delays = (before_s, behind_s, works)
            try:
                self.lease.renew()
            except OSError:
                return

    def look(self, *, is_gone: bool) -> None:
        if conclude(self.paths, 1, RunOutcome.INTERRUPTED, "vanished", is_gone=is_gone):
            assert is_gone or self.freed_s is not None
            self.freed_s = self.freed_s or self.now_s


@contextmanager
def world(monkeypatch: pytest.MonkeyPatch):
    with tempfile.TemporaryDirectory() as root, monkeypatch.context() as patched:
        paths = RunPaths(Path(root) / "runs" / "x" / "run")
        paths.directory.mkdir(parents=True)
        yield World(paths, patched)


@given(steps=_STEPS)
def test_no_worker_writes_once_its_run_was_freed(steps: list[Step]) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch, world(monkeypatch) as now:
        for what, first_s, second_s, yes in steps:
            if what == "renew":
                now.renew(first_s, second_s, yes)
            elif what == "look":
                now.look(is_gone=yes)
            elif what == "pass":
                now.now_s += first_s
            if now.freed_s is not None:
                # Not only dead by now: for as long as two clocks of one cluster may differ.
                assert now.ends_s <= now.freed_s - (STALE_S - GIVE_UP_S)
                assert not now.is_alive()
            if now.is_alive() and what == "write":
                assert read_exit(now.paths) is None
                assert now.lease.holds()


@given(pauses_s=st.lists(_SHORT, max_size=20), takes_s=_SHORT)
def test_a_worker_that_renews_in_time_lives_and_keeps_its_run(pauses_s: list[float], takes_s: float) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch, world(monkeypatch) as now:
        for pause_s in pauses_s:
            now.now_s += pause_s
            now.renew(takes_s / 2, takes_s / 2, True)
            now.look(is_gone=True)
            assert now.is_alive()
        assert now.freed_s is None


@given(silent_s=st.floats(0, 1000), is_gone=st.booleans())
def test_a_run_is_freed_after_180_seconds_and_an_answer(silent_s: float, is_gone: bool) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch, world(monkeypatch) as now:
        now.now_s += silent_s
        now.look(is_gone=is_gone)
        assert (now.freed_s is not None) is (is_gone and silent_s > STALE_S)
        assert now.is_alive() is (silent_s < GIVE_UP_S)
