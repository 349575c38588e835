"""Random streams and the order of batches."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tui_datasize.training.streams import BatchOrder, Purpose, stream

CPU = torch.device("cpu")


def order(images, batch_size, seed=3):
    return BatchOrder(images, batch_size, stream(seed, Purpose.BATCH_ORDER), CPU)


def test_streams_differ_by_seed_and_purpose_and_by_nothing_else():
    drawn = {
        (seed, purpose): torch.rand(4, generator=stream(seed, purpose)).tolist()
        for seed in (0, 1, 101)
        for purpose in Purpose
    }
    assert len({tuple(values) for values in drawn.values()}) == len(drawn)
    torch.manual_seed(5)
    again = torch.rand(4, generator=stream(0, Purpose.DROPOUT)).tolist()
    assert again == drawn[0, Purpose.DROPOUT]


@settings(deadline=None, max_examples=50)
@given(images=st.integers(1, 300), batch_size=st.integers(1, 70), batches=st.integers(1, 200))
def test_batches_are_full_and_every_pass_shows_every_image_once(images, batch_size, batches):
    source = order(images, batch_size)
    drawn = torch.cat([source.next() for _ in range(batches)])
    assert len(drawn) == batches * batch_size
    for passed in drawn.split(images):
        counts = torch.bincount(passed, minlength=images)
        assert counts.max() == 1
    assert drawn.min() >= 0


def test_passes_differ_from_each_other():
    source = order(50, 50)
    first, second = source.next().tolist(), source.next().tolist()
    assert sorted(first) == sorted(second)
    assert first != second


@pytest.mark.parametrize("used", [0, 1, 63, 64, 65, 200])
def test_an_order_continues_from_its_state(used):
    source = order(70, 16)
    for _ in range(used):
        source.next()
    state = source.state_dict()
    expected = [source.next().tolist() for _ in range(150)]
    resumed = order(70, 16, seed=99)
    resumed.load_state_dict(state)
    assert [resumed.next().tolist() for _ in range(150)] == expected
