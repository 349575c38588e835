"""How long the rest will take."""

from __future__ import annotations

import pytest

from tui_datasize.tui.look.eta import Work, duration, queue_remaining_s, run_remaining_s, seconds_per_update

SMALL = ("digits", "mlp", 32)
LARGE = ("letters", "cnn3", 72)


def test_the_rate_is_the_mean_over_all_updates():
    executed = [Work(SMALL, 100, 100, 1.0), Work(SMALL, 300, 400, 9.0), Work(LARGE, 10, 100, 5.0)]
    assert seconds_per_update(executed) == {SMALL: pytest.approx(0.025), LARGE: pytest.approx(0.5)}


def test_what_was_not_executed_has_no_rate():
    assert seconds_per_update([Work(SMALL, 0, 100, 0.0), Work(SMALL, 5, 100, 0.0)]) == {}
    assert run_remaining_s(Work(SMALL, 0, 100, 0.0), {}) is None


def test_the_queue_is_shared_among_slots():
    rates = {SMALL: 0.1}
    pending = [Work(SMALL, 0, 100, 0.0), Work(SMALL, 50, 100, 5.0), Work(SMALL, 0, 100, 0.0)]
    assert queue_remaining_s(pending, rates, 1) == pytest.approx(25.0)
    assert queue_remaining_s(pending, rates, 2) == pytest.approx(12.5)
    # No number of slots makes a single run shorter.
    assert queue_remaining_s(pending, rates, 16) == pytest.approx(10.0)


def test_one_unknown_kind_makes_the_queue_unknown():
    pending = [Work(SMALL, 0, 100, 0.0), Work(LARGE, 0, 100, 0.0)]
    assert queue_remaining_s(pending, {SMALL: 0.1}, 2) is None
    assert queue_remaining_s([], {SMALL: 0.1}, 2) is None


def test_durations_stay_short():
    seconds = [None, 0.2, 59.4, 60, 3599, 3600, 86_399, 86_400, 9 * 86_400, 40 * 86_400]
    assert all(len(duration(value)) <= 7 for value in seconds)
    assert [duration(value) for value in seconds[-4:]] == ["23 h 59", "1 d 00", "9 d 00", "40 d"]
